import { roundUpTo, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { imageFormats, type ImageFormat } from '../policy';
import { inspectIso } from './iso';
import { findPackageRefusal } from './packages';
import { inspectQcow2 } from './qcow2';
import { inspectRaw } from './raw';
import {
  findSignatures,
  findTailSignatures,
  HEAD_BYTES,
  TAIL_BYTES,
  type Signature,
  type SignatureFormat,
} from './signatures';
import { need, type Steps, type Subject } from './steps';
import { inspectVdi } from './vdi';
import { findSizeRefusal, refuse, type ImageRefusal, type ImageVerdict } from './verdict';
import { inspectVhd } from './vhd';
import { inspectVhdx } from './vhdx';
import { inspectVmdk } from './vmdk';

type Inspection = (subject: Subject, signatures: Signature[]) => Steps<ImageVerdict>;

const inspections: Record<ImageFormat, Inspection> = {
  raw: inspectRaw,
  qcow2: inspectQcow2,
  vmdk: inspectVmdk,
  vhd: inspectVhd,
  vhdx: inspectVhdx,
  vdi: inspectVdi,
  iso: inspectIso,
};

const bannedFormats: ReadonlySet<SignatureFormat> = new Set(['qcow', 'qed', 'parallels', 'bochs', 'cloop', 'dmg']);
/** Signatures that a raw disk may hold without being another format. */
const rawContents: ReadonlySet<SignatureFormat> = new Set(['luks', 'partition-table']);

/**
 * Inspects an image file: its signatures first, then its format's own rules, then the footers at its end.
 * The order is the stream's, so that what the first bytes tell is told by them.
 */
export function* inspectionOf(declared: string, subject: Subject): Steps<ImageVerdict> {
  const { formats } = subject.policy;
  const format = imageFormats.find((candidate) => candidate === declared && formats.includes(candidate));
  if (format === undefined)
    return refuse('format-unsupported', { found: `of disk format ${declared}`, allowed: formats.join(', ') });
  if (!(subject.sizeBytes >= 1)) return refuse('file-empty', { found: '0 bytes', allowed: '1 byte at least' });
  const sizeRefusal = findFlatSizeRefusal(format, subject);
  if (sizeRefusal) return sizeRefusal;
  const head = yield* need(0, Math.min(HEAD_BYTES, subject.sizeBytes));
  const signatures = findSignatures(head);
  const packed = findPackageRefusal(head, signatures, declared);
  if (packed) return packed;
  const isFooterTheSignature = format === 'vhd' && signatures.every((signature) => signature.format !== 'vhd');
  const footers = isFooterTheSignature ? yield* readFooters(subject) : [];
  const early = findMismatch(declared, [...signatures, ...footers]);
  if (early) return early;
  const verdict = yield* inspections[format](subject, signatures);
  if (verdict.kind === 'refused' || format === 'vhd') return verdict;
  return findMismatch(declared, [...signatures, ...(yield* readFooters(subject))]) ?? verdict;
}

/** A guest sees a raw disk or an ISO as large as its file: that needs no byte of it. */
function findFlatSizeRefusal(format: ImageFormat, { sizeBytes, policy }: Subject): ImageRefusal | undefined {
  const isFlat = format === 'raw' || format === 'iso';
  return isFlat && Number.isFinite(sizeBytes)
    ? findSizeRefusal(roundUpTo(sizeBytes, SECTOR_BYTES), { policy })
    : undefined;
}

function* readFooters({ sizeBytes }: Subject): Steps<Signature[]> {
  const offset = Math.max(0, sizeBytes - TAIL_BYTES);
  return findTailSignatures(yield* need(offset, Math.min(sizeBytes, TAIL_BYTES)), offset);
}

/** @returns a refusal unless the signatures say exactly what was declared. */
export function findMismatch(declared: string, signatures: Signature[]): ImageRefusal | undefined {
  const banned = signatures.find(({ format }) => bannedFormats.has(format));
  if (banned)
    return refuse('format-banned', { offset: banned.offset, found: banned.format, allowed: 'none of its kind' });
  const containers = [
    ...new Set(signatures.map(({ format }) => format).filter((format) => format !== 'iso' && !rawContents.has(format))),
  ];
  const contents = signatures.filter(({ format }) => format === 'iso' || rawContents.has(format));
  const [container, second] = containers;
  if (container === undefined) return findContentMismatch(declared, contents);
  if (second !== undefined) return severalSignatures(container, second);
  const place = signatures.find(({ format }) => format === container)?.offset;
  if (container !== declared)
    return refuse('declared-format-mismatch', {
      offset: place,
      found: `${container} bytes declared ${declared}`,
      allowed: `${declared} bytes`,
    });
  // A fixed VHD is a raw disk with a footer: its start is the guest's own.
  const [content] = container === 'vhd' && place !== 0 ? [] : contents;
  return content && severalSignatures(container, content.format);
}

function severalSignatures(one: SignatureFormat, other: SignatureFormat): ImageRefusal {
  return refuse('several-signatures', { offset: 0, found: `signatures of ${one} and ${other}`, allowed: 'one format' });
}

/** No image format announces itself: the bytes are a raw disk or an ISO; an ISO with a partition table can be used as either. */
function findContentMismatch(declared: string, contents: Signature[]): ImageRefusal | undefined {
  const iso = contents.find(({ format }) => format === 'iso');
  const isHybrid = contents.some(({ format }) => format === 'partition-table');
  const detected = iso ? 'iso' : 'raw';
  if (detected === declared || (iso && isHybrid && declared === 'raw')) return undefined;
  return refuse('declared-format-mismatch', {
    offset: iso?.offset ?? 0,
    found: `${detected} bytes declared ${declared}`,
    allowed: `${declared} bytes`,
  });
}
