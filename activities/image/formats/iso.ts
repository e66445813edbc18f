import { KiB, roundUpTo, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { HEAD_BYTES, type Signature } from './signatures';
import { need, type Steps, type Subject } from './steps';
import { refuse, type ImageRefusal, type ImageVerdict } from './verdict';

const FIRST_DESCRIPTOR = 32 * KiB;
const DESCRIPTOR_BYTES = 2 * KiB;
const PRIMARY = 1;
const TERMINATOR = 255;

/** Inspects an ISO 9660 or UDF volume; the guest sees the whole file, as it sees a raw disk. */
export function* inspectIso(subject: Subject, signatures: Signature[]): Steps<ImageVerdict> {
  const { sizeBytes } = subject;
  const virtualSizeBytes = roundUpTo(sizeBytes, SECTOR_BYTES);
  const area = yield* need(FIRST_DESCRIPTOR, Math.min(HEAD_BYTES, sizeBytes) - FIRST_DESCRIPTOR);
  const descriptors = splitDescriptors(area);
  const primary = descriptors.find((descriptor) => isIso9660(descriptor) && descriptor[0] === PRIMARY);
  const hybrid = signatures.some(({ format }) => format === 'partition-table');
  return (
    findDescriptorRefusal(descriptors, primary, sizeBytes) ?? {
      kind: 'accepted',
      format: 'iso',
      virtualSizeBytes,
      details: { hybrid, volume: primary ? 'ISO 9660' : 'UDF' },
    }
  );
}

function splitDescriptors(area: Buffer): Buffer[] {
  const count = Math.floor(area.length / DESCRIPTOR_BYTES);
  return Array.from({ length: count }, (_, index) =>
    area.subarray(index * DESCRIPTOR_BYTES, (index + 1) * DESCRIPTOR_BYTES),
  );
}

function isIso9660(descriptor: Buffer): boolean {
  return descriptor.toString('latin1', 1, 6) === 'CD001';
}

/** Both byte orders of every number must agree, or two readers see two volumes. A UDF volume without ISO 9660 has no such descriptor. */
function findDescriptorRefusal(
  descriptors: Buffer[],
  primary: Buffer | undefined,
  sizeBytes: number,
): ImageRefusal | undefined {
  const wrong = (found: string) =>
    refuse('iso-descriptors', {
      offset: FIRST_DESCRIPTOR,
      found,
      allowed: 'one primary descriptor that agrees with itself, and a terminator in the first 64 KiB',
    });
  const iso9660 = descriptors.filter(isIso9660);
  if (primary === undefined) return iso9660.length === 0 ? undefined : wrong('no primary descriptor');
  if (!iso9660.some(([type]) => type === TERMINATOR)) return wrong('no terminator');
  const blocks = primary.readUInt32LE(80);
  const blockBytes = primary.readUInt16LE(128);
  if (blocks !== primary.readUInt32BE(84) || blockBytes !== primary.readUInt16BE(130))
    return wrong('numbers that differ with the byte order');
  if (![512, 1024, 2048].includes(blockBytes)) return wrong(`blocks of ${blockBytes} bytes`);
  const volumeBytes = blocks * blockBytes;
  return volumeBytes <= sizeBytes
    ? undefined
    : refuse('iso-size', {
        offset: FIRST_DESCRIPTOR + 80,
        found: `a volume of ${volumeBytes} bytes`,
        allowed: `at most the file's ${sizeBytes}`,
      });
}
