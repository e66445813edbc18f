import { setImmediate } from 'node:timers/promises';
import { KiB, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { findMismatch, inspectionOf } from './formats/inspection';
import { findPackageRefusal } from './formats/packages';
import { findSignatures, HEAD_BYTES } from './formats/signatures';
import { isPause, MAX_RANGE_BYTES, type Range, type Steps } from './formats/steps';
import { refuse, type HeadVerdict, type ImageRefusal, type ImageVerdict } from './formats/verdict';
import type { ImagePolicy } from './policy';

export { refusalFailure } from './formats/verdict';
export type { HeadVerdict, ImageRefusal, ImageVerdict } from './formats/verdict';

export interface InspectionRequest {
  /** Glance's `disk_format`. */
  declaredFormat: string;
  /** Size of the image file. */
  sizeBytes: number;
  policy: ImagePolicy;
  /** Reads the file; fewer bytes than asked for mean that it ends there. Errors that it throws pass through. */
  read: (offset: number, lengthBytes: number) => Promise<Buffer>;
}

/** Reads that one inspection may do: so many, for scattered tables, or one for each so many bytes of the file, which pays for them. */
const MAX_READS = 300_000;
const BYTES_A_READ = 256 * KiB;
/** Bytes of tables that are looked at before others have their turn. */
const TURN_BYTES = 256 * KiB;
const NOTHING = Buffer.alloc(0);

/**
 * Inspects an image file by its own bytes. Reads only; the same file and policy give the same verdict. However large its tables are, other work of this
 * thread has its turn after each piece of them. @throws only what `read` throws.
 */
export async function inspect({ declaredFormat, sizeBytes, policy, read }: InspectionRequest): Promise<ImageVerdict> {
  const steps = inspectionOf(declaredFormat, { sizeBytes, policy });
  const maxReads = Math.max(MAX_READS, Math.ceil(sizeBytes / BYTES_A_READ));
  let next = steps.next();
  let bytesInTurn = 0;
  for (let reads = 0; !next.done; reads++) {
    const { offset, lengthBytes } = next.value;
    bytesInTurn += lengthBytes;
    if (isPause(next.value) || bytesInTurn >= TURN_BYTES) {
      await setImmediate();
      bytesInTurn = 0;
    }
    if (isPause(next.value)) {
      next = steps.next(NOTHING);
      continue;
    }
    if (reads >= maxReads)
      return refuse('inspection-too-long', { found: `more than ${maxReads} reads`, allowed: `${maxReads}` });
    const refusal = findRangeRefusal(next.value, sizeBytes);
    if (refusal) return refusal;
    const bytes = await read(offset, lengthBytes);
    if (bytes.length < lengthBytes) return truncated(next.value, offset + bytes.length);
    next = steps.next(bytes.subarray(0, lengthBytes));
  }
  return next.value;
}

/**
 * Inspects a stream by the bytes that have come so far: refuses as soon as they tell, accepts when they tell everything.
 * @param head the file's first bytes; 1 MiB decides nearly every hostile image. @param sizeBytes the file's size, where it is known.
 */
export function inspectHead(
  head: Buffer,
  { declaredFormat, sizeBytes = Infinity, policy }: { declaredFormat: string; sizeBytes?: number; policy: ImagePolicy },
): HeadVerdict {
  const steps: Steps<ImageVerdict> = inspectionOf(declaredFormat, { sizeBytes, policy });
  let next = steps.next();
  while (!next.done) {
    const { offset, lengthBytes } = next.value;
    // Large tables are left to the inspection of the whole file, which has pauses.
    if (isPause(next.value)) return { kind: 'undecided', needs: next.value };
    const refusal = findRangeRefusal(next.value, sizeBytes);
    if (refusal) return refusal;
    if (offset + lengthBytes > head.length)
      return findEarlySignature(head, declaredFormat) ?? { kind: 'undecided', needs: { offset, lengthBytes } };
    next = steps.next(head.subarray(offset, offset + lengthBytes));
  }
  return next.value;
}

/**
 * Inspects guest bytes that were written into a volume: they must not look like an image of any format, lest a later reader guess it.
 * A partition table or an ISO inside is what guests have; a LUKS disk is allowed where the policy allows encrypted images.
 * @param head the volume's first bytes, 64 KiB of them or all.
 */
export function inspectWrittenRaw(
  head: Buffer,
  { policy }: { declaredFormat: string; policy: Pick<ImagePolicy, 'allowEncrypted'> },
): { kind: 'accepted' } | ImageRefusal {
  const suspicious = findSignatures(head).find(
    ({ format }) => format !== 'iso' && format !== 'partition-table' && !(format === 'luks' && policy.allowEncrypted),
  );
  if (suspicious === undefined) return { kind: 'accepted' };
  return refuse('written-bytes-look-like-image', {
    offset: suspicious.offset,
    found: `guest bytes that begin like ${suspicious.format}`,
    allowed: 'a disk without an image inside',
  });
}

/** @returns why no parser should be given this range: it leaves the file. */
function findRangeRefusal(range: Range, sizeBytes: number): ImageRefusal | undefined {
  const end = range.offset + range.lengthBytes;
  if (range.lengthBytes > MAX_RANGE_BYTES) throw new RangeError(`a parser asks for ${range.lengthBytes} bytes at once`);
  return end > sizeBytes ? truncated(range, sizeBytes) : undefined;
}

function truncated({ offset, lengthBytes }: Range, endBytes: number): ImageRefusal {
  return refuse('file-truncated', {
    offset,
    found: `a file that ends at byte ${endBytes}`,
    allowed: `${lengthBytes} bytes at byte ${offset}`,
  });
}

/** Refusal by less than the first 64 KiB: signatures at fixed places. An ISO's and a fixed VHD's come later. */
function findEarlySignature(head: Buffer, declared: string): ImageRefusal | undefined {
  if (head.length < SECTOR_BYTES || head.length >= HEAD_BYTES) return undefined;
  const signatures = findSignatures(head);
  const comesLater =
    (declared === 'iso' || declared === 'vhd') && signatures.every(({ format }) => format === 'partition-table');
  return (
    findPackageRefusal(head, signatures, declared) ?? (comesLater ? undefined : findMismatch(declared, signatures))
  );
}
