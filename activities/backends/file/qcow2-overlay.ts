import { GiB, KiB, MiB } from '../../../workflows/contract/bytes';
import type { FileContent } from './durable';

/**
 * An empty qcow2 v3 overlay on a raw file as bytes, so that a clone starts no process. Four regions, each in clusters of 64 KiB:
 * header with extensions and backing file name, refcount table, one refcount block, L1 table. No cluster is allocated to the guest,
 * so every read goes to the backing file and what lies behind its end reads as zeros.
 * Source: docs/interop/qcow2.txt of QEMU.
 */
export interface Overlay {
  virtualBytes: number;
  /** As written into the header: relative to the overlay's own directory. Undefined: it was flattened, and what is not allocated reads as zeros. */
  backingFile?: string;
  /** Kept in a header extension of ours, which QEMU carries along when it rewrites the header. */
  annotation: string;
}

const CLUSTER_BITS = 16;
const CLUSTER_BYTES = 1 << CLUSTER_BITS;
/** Guest bytes that one L1 entry covers: a cluster of 8-byte L2 entries, a cluster each. */
const L1_ENTRY_COVERS_BYTES = (CLUSTER_BYTES / 8) * CLUSTER_BYTES;
/** QEMU refuses a larger L1 table (QCOW_MAX_L1_SIZE). */
const MAX_L1_BYTES = 32 * MiB;
const MAX_BACKING_NAME_BYTES = 1023;
const MAGIC = 0x514649fb;
const HEADER_BYTES = 104;
const BACKING_FORMAT_EXTENSION = 0xe2792aca;
/** "IVCm"; unknown to QEMU, and without an incompatible bit it keeps what it does not know. */
const ANNOTATION_EXTENSION = 0x4956436d;
const END_OF_EXTENSIONS = 0;
const REFCOUNT_ORDER_16_BITS = 4;
const FIRST_CLUSTER = { refcountTable: 1, refcountBlock: 2, l1Table: 3 } as const;

/** Largest virtual size that an overlay of this cluster size can have: 2 PiB. */
export const MAX_OVERLAY_BYTES = (MAX_L1_BYTES / 8) * (L1_ENTRY_COVERS_BYTES / GiB) * GiB;
/** Bytes at an overlay's start within which header and extensions lie. */
export const OVERLAY_HEAD_BYTES = CLUSTER_BYTES;
/** Longest annotation that leaves room for the rest of the header's cluster. */
export const MAX_ANNOTATION_BYTES = 32 * KiB;

/** @returns the bytes of an overlay's file; its L1 table, all zeros, is a hole. */
export function formatOverlay(overlay: Overlay): FileContent {
  const l1Entries = Math.ceil(overlay.virtualBytes / L1_ENTRY_COVERS_BYTES);
  const clusters = FIRST_CLUSTER.l1Table + Math.max(1, Math.ceil((l1Entries * 8) / CLUSTER_BYTES));
  return {
    writes: [
      { position: 0, bytes: formatHead(overlay, l1Entries) },
      {
        position: FIRST_CLUSTER.refcountTable * CLUSTER_BYTES,
        bytes: bigEndian64(FIRST_CLUSTER.refcountBlock * CLUSTER_BYTES),
      },
      { position: FIRST_CLUSTER.refcountBlock * CLUSTER_BYTES, bytes: ones16(clusters) },
    ],
    fileBytes: clusters * CLUSTER_BYTES,
  };
}

/** @param head the first `OVERLAY_HEAD_BYTES` of a file, or fewer. @returns undefined when it is no qcow2 of version 3. */
export function parseOverlay(head: Buffer): (Omit<Overlay, 'annotation'> & { annotation?: string }) | undefined {
  if (head.length < HEADER_BYTES || head.readUInt32BE(0) !== MAGIC || head.readUInt32BE(4) !== 3) return undefined;
  const nameOffset = Number(head.readBigUInt64BE(8));
  const nameBytes = head.readUInt32BE(16);
  if (nameBytes > MAX_BACKING_NAME_BYTES || nameOffset + nameBytes > head.length) return undefined;
  return {
    virtualBytes: Number(head.readBigUInt64BE(24)),
    ...(nameOffset === 0 ? {} : { backingFile: head.toString('utf8', nameOffset, nameOffset + nameBytes) }),
    annotation: findExtension(head, ANNOTATION_EXTENSION)?.toString('utf8'),
  };
}

/**
 * @param head the first `OVERLAY_HEAD_BYTES` of an overlay, which hold nothing but its header, whoever has written it.
 * @returns the same with another annotation; all that is not known here stays. @throws RangeError when it does not fit.
 */
export function withAnnotation(head: Buffer, annotation: string): Buffer {
  const headerBytes = head.readUInt32BE(100);
  const backingFile = Buffer.from(parseOverlay(head)?.backingFile ?? '');
  const others = listExtensions(head).filter(({ type }) => type !== ANNOTATION_EXTENSION);
  const extensions = Buffer.concat([
    ...others.map(({ type, data }) => formatExtension(type, data)),
    formatExtension(ANNOTATION_EXTENSION, annotation),
    formatExtension(END_OF_EXTENSIONS, ''),
  ]);
  const changed = Buffer.alloc(OVERLAY_HEAD_BYTES);
  const bytes = Buffer.concat([head.subarray(0, headerBytes), extensions, backingFile]);
  if (bytes.length > changed.length) throw new RangeError(`a header of ${bytes.length} bytes`);
  bytes.copy(changed);
  if (backingFile.length > 0) changed.writeBigUInt64BE(BigInt(headerBytes + extensions.length), 8);
  return changed;
}

function formatHead(overlay: Overlay, l1Entries: number): Buffer {
  const backingFile = Buffer.from(overlay.backingFile ?? '');
  const extensions = Buffer.concat([
    ...(overlay.backingFile === undefined ? [] : [formatExtension(BACKING_FORMAT_EXTENSION, 'raw')]),
    formatExtension(ANNOTATION_EXTENSION, overlay.annotation),
    formatExtension(END_OF_EXTENSIONS, ''),
  ]);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(3, 4);
  if (overlay.backingFile !== undefined) header.writeBigUInt64BE(BigInt(HEADER_BYTES + extensions.length), 8);
  header.writeUInt32BE(backingFile.length, 16);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(overlay.virtualBytes), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(BigInt(FIRST_CLUSTER.l1Table * CLUSTER_BYTES), 40);
  header.writeBigUInt64BE(BigInt(FIRST_CLUSTER.refcountTable * CLUSTER_BYTES), 48);
  header.writeUInt32BE(1, 56);
  header.writeUInt32BE(REFCOUNT_ORDER_16_BITS, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);
  return Buffer.concat([header, extensions, backingFile]);
}

function formatExtension(type: number, content: string | Buffer): Buffer {
  const data = typeof content === 'string' ? Buffer.from(content) : content;
  const extension = Buffer.alloc(8 + Math.ceil(data.length / 8) * 8);
  extension.writeUInt32BE(type, 0);
  extension.writeUInt32BE(data.length, 4);
  data.copy(extension, 8);
  return extension;
}

function findExtension(head: Buffer, wanted: number): Buffer | undefined {
  return listExtensions(head).find(({ type }) => type === wanted)?.data;
}

function listExtensions(head: Buffer): { type: number; data: Buffer }[] {
  const found: { type: number; data: Buffer }[] = [];
  let offset = head.readUInt32BE(100);
  while (offset + 8 <= head.length) {
    const type = head.readUInt32BE(offset);
    const length = head.readUInt32BE(offset + 4);
    if (type === END_OF_EXTENSIONS || offset + 8 + length > head.length) break;
    found.push({ type, data: head.subarray(offset + 8, offset + 8 + length) });
    offset += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function bigEndian64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** One reference to each of the first `count` clusters. */
function ones16(count: number): Buffer {
  return Buffer.alloc(2 * count, Buffer.from([0, 1]));
}
