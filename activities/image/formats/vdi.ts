import { MiB, roundUpTo, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { firstRefusal, isWithin, need, u64le, type Check, type Range, type Steps, type Subject } from './steps';
import { createAreas, walkTable } from './tables';
import { findSizeRefusal, refuse, type ImageRefusal, type ImageVerdict } from './verdict';

/** Fields of VirtualBox's VDI header, version 1.1 (QEMU block/vdi.c). */
interface VdiHeader {
  version: number;
  headerBytes: number;
  type: number;
  map: Range;
  dataOffset: number;
  sectorBytes: number;
  virtualBytes: number;
  blockBytes: number;
  blockExtraBytes: number;
  blocks: number;
  allocatedBlocks: number;
  hasParent: boolean;
}

const VERSION_1_1 = 0x10001;
const DYNAMIC = 1;
const FIXED = 2;
/** The first of the two values that stand for a block without data. */
const FIRST_UNALLOCATED = 0xfffffffe;
/** From the length field itself, VirtualBox counts 0x190 bytes and QEMU 0x180; both leave the header in its first sector. */
const HEADER_START = 0x48;
const MIN_HEADER_BYTES = 0x180;

/** Inspects a file with VDI's signature: header, then block map. */
export function* inspectVdi(subject: Subject): Steps<ImageVerdict> {
  const header = parseVdiHeader(yield* need(0, SECTOR_BYTES));
  const refusal = firstRefusal(header, subject, vdiChecks) ?? (yield* findBlockRefusal(header, subject));
  const virtualSizeBytes = roundUpTo(header.virtualBytes, SECTOR_BYTES);
  return (
    refusal ?? {
      kind: 'accepted',
      format: 'vdi',
      virtualSizeBytes,
      details: { type: header.type === FIXED ? 'fixed' : 'dynamic', blocks: header.blocks },
    }
  );
}

function parseVdiHeader(bytes: Buffer): VdiHeader {
  const blocks = bytes.readUInt32LE(0x180);
  return {
    version: bytes.readUInt32LE(0x44),
    headerBytes: bytes.readUInt32LE(HEADER_START),
    type: bytes.readUInt32LE(0x4c),
    map: { offset: bytes.readUInt32LE(0x154), lengthBytes: blocks * 4 },
    dataOffset: bytes.readUInt32LE(0x158),
    sectorBytes: bytes.readUInt32LE(0x168),
    virtualBytes: u64le(bytes, 0x170),
    blockBytes: bytes.readUInt32LE(0x178),
    blockExtraBytes: bytes.readUInt32LE(0x17c),
    blocks,
    allocatedBlocks: bytes.readUInt32LE(0x184),
    hasParent: bytes.subarray(0x1a8, 0x1c8).some((byte) => byte !== 0),
  };
}

const vdiChecks: Check<VdiHeader>[] = [
  ({ version, headerBytes }) =>
    version === VERSION_1_1 && headerBytes >= MIN_HEADER_BYTES && headerBytes <= SECTOR_BYTES - HEADER_START
      ? undefined
      : refuse('vdi-version', {
          offset: 0x44,
          found: `version 0x${version.toString(16)}, a header of ${headerBytes} bytes`,
          allowed: `version 1.1, ${MIN_HEADER_BYTES} to ${SECTOR_BYTES - HEADER_START} bytes`,
        }),
  ({ hasParent }) =>
    hasParent
      ? refuse('vdi-parent', { offset: 0x1a8, found: 'the UUID of a link or parent', allowed: 'none' })
      : undefined,
  ({ type }) =>
    type === DYNAMIC || type === FIXED
      ? undefined
      : refuse('vdi-type', { offset: 0x4c, found: `type ${type}`, allowed: '1 (dynamic), 2 (fixed)' }),
  ({ virtualBytes }, { policy }) => findSizeRefusal(virtualBytes, { policy, offset: 0x170 }),
  ({ blockBytes, blockExtraBytes, sectorBytes }) =>
    blockBytes === MiB && blockExtraBytes === 0 && sectorBytes === SECTOR_BYTES
      ? undefined
      : refuse('vdi-block-size', {
          offset: 0x178,
          found: `blocks of ${blockBytes} + ${blockExtraBytes} bytes, sectors of ${sectorBytes}`,
          allowed: `${MiB} + 0, ${SECTOR_BYTES}`,
        }),
  checkMap,
];

function checkMap(
  { map, blocks, allocatedBlocks, dataOffset, virtualBytes }: VdiHeader,
  subject: Subject,
): ImageRefusal | undefined {
  const neededBlocks = Math.ceil(virtualBytes / MiB);
  const isBounded =
    blocks >= neededBlocks && allocatedBlocks <= blocks && map.lengthBytes <= subject.policy.maxTableBytes;
  const isPlaced =
    map.offset >= SECTOR_BYTES &&
    map.offset % SECTOR_BYTES === 0 &&
    dataOffset % SECTOR_BYTES === 0 &&
    dataOffset >= map.offset + map.lengthBytes;
  if (isBounded && isPlaced && isWithin(subject, map)) return undefined;
  return refuse('vdi-table', {
    offset: 0x154,
    found: `${blocks} blocks (${allocatedBlocks} allocated) mapped at byte ${map.offset}, data at ${dataOffset}`,
    allowed: `${neededBlocks} blocks at least, a map of ${subject.policy.maxTableBytes} bytes at most, in whole sectors before the data and within the file`,
  });
}

function* findBlockRefusal({ map, dataOffset }: VdiHeader, subject: Subject): Steps<ImageRefusal | undefined> {
  const shared = (offset: number) =>
    refuse('vdi-blocks', { offset, found: 'a block under several entries', allowed: 'a block of its own each' });
  const blocks = createAreas(MiB, { fileBytes: subject.sizeBytes });
  const refusal = yield* walkTable(map, { entryBytes: 4 }, (entries, offset) => {
    for (let at = 0; at < entries.length; at += 4) {
      const index = entries.readUInt32LE(at);
      if (index >= FIRST_UNALLOCATED) continue;
      const block = { offset: dataOffset + index * MiB, lengthBytes: MiB };
      if (!isWithin(subject, block))
        return refuse('vdi-blocks', {
          offset: offset + at,
          found: `a block at byte ${block.offset}`,
          allowed: `within the file of ${subject.sizeBytes} bytes`,
        });
      if (!blocks.add(block.offset)) return shared(block.offset);
    }
    return undefined;
  });
  if (refusal) return refusal;
  const sorted = yield* blocks.sort();
  return 'overlapping' in sorted ? shared(sorted.overlapping) : undefined;
}
