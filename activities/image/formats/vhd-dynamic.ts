import { KiB, MiB, roundUpTo, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { firstRefusal, isWithin, need, u64be, type Check, type Range, type Steps, type Subject } from './steps';
import { createAreas, isPowerOfTwo, walkTable } from './tables';
import { refuse, type ImageRefusal } from './verdict';
import { isVhdChecksumValid, VHD_FOOTER_BYTES, type VhdFooter } from './vhd-footer';

interface DynamicHeader {
  offset: number;
  bytes: Buffer;
  blockBytes: number;
  entries: number;
  table: Range;
  footer: VhdFooter;
}

const HEADER_BYTES = 1024;
const VERSION = 0x10000;
const UNUSED = 0xffffffff;
/** Parent's UUID, timestamp, reserved word, name and locators: all zero in a disk that stands alone. */
const PARENT_UUID = 40;
const PARENT_NAME = 64;
const PARENT_LOCATORS_END = 768;
const MIN_BLOCK_BYTES = 512 * KiB;
const MAX_BLOCK_BYTES = 256 * MiB;

/** The rules of a dynamic VHD: copy of the footer, dynamic header, block allocation table. */
export function* findDynamicRefusal(footer: VhdFooter, subject: Subject): Steps<ImageRefusal | undefined> {
  const copy = yield* need(0, VHD_FOOTER_BYTES);
  // Everything up to the checksum; a saved-state flag may differ after a crash.
  if (!copy.subarray(0, 64).equals(footer.bytes.subarray(0, 64)))
    return refuse('vhd-footer', {
      offset: footer.offset,
      found: 'a footer unlike its copy at the start',
      allowed: 'the same twice',
    });
  const place = { offset: footer.dataOffset, lengthBytes: HEADER_BYTES };
  if (place.offset < VHD_FOOTER_BYTES || !isWithin(subject, place)) {
    return refuse('vhd-dynamic-header', {
      offset: 16,
      found: `a header at byte ${place.offset}`,
      allowed: `within the file of ${subject.sizeBytes} bytes`,
    });
  }
  const header = parseDynamicHeader(yield* need(place.offset, HEADER_BYTES), footer);
  return firstRefusal(header, subject, dynamicChecks) ?? (yield* findBlockRefusal(header, subject));
}

function parseDynamicHeader(bytes: Buffer, footer: VhdFooter): DynamicHeader {
  const entries = bytes.readUInt32BE(28);
  const table = { offset: u64be(bytes, 16), lengthBytes: entries * 4 };
  return { offset: footer.dataOffset, bytes, blockBytes: bytes.readUInt32BE(32), entries, table, footer };
}

const dynamicChecks: Check<DynamicHeader>[] = [
  ({ bytes, offset }) =>
    bytes.toString('latin1', 0, 8) === 'cxsparse' && bytes.readUInt32BE(24) === VERSION && isVhdChecksumValid(bytes, 36)
      ? undefined
      : refuse('vhd-dynamic-header', {
          offset,
          found: 'a wrong signature, version or checksum',
          allowed: 'cxsparse, version 1.0, its checksum',
        }),
  ({ bytes, offset }) => {
    const hasParent = [
      bytes.subarray(PARENT_UUID, PARENT_UUID + 16),
      bytes.subarray(PARENT_NAME, PARENT_LOCATORS_END),
    ].some((area) => area.some((byte) => byte !== 0));
    return hasParent
      ? refuse('vhd-parent', {
          offset: offset + PARENT_UUID,
          found: 'a parent or a parent locator',
          allowed: 'no parent',
        })
      : undefined;
  },
  ({ blockBytes, offset }) =>
    isPowerOfTwo(blockBytes) && blockBytes >= MIN_BLOCK_BYTES && blockBytes <= MAX_BLOCK_BYTES
      ? undefined
      : refuse('vhd-block-size', {
          offset: offset + 32,
          found: `${blockBytes} bytes`,
          allowed: `a power of two from ${MIN_BLOCK_BYTES} to ${MAX_BLOCK_BYTES}`,
        }),
  ({ entries, table, blockBytes, offset, footer }, subject) => {
    const needed = Math.ceil(Math.max(footer.currentBytes, footer.virtualBytes) / blockBytes);
    const isBounded =
      entries >= needed &&
      table.lengthBytes <= subject.policy.maxTableBytes &&
      table.offset >= VHD_FOOTER_BYTES &&
      isWithin(subject, table);
    if (isBounded) return undefined;
    const allowed = `${needed} entries at least, ${subject.policy.maxTableBytes} bytes at most, within the file`;
    return refuse('vhd-table', { offset: offset + 16, found: `${entries} entries at byte ${table.offset}`, allowed });
  },
];

/** Each block is a bitmap of its sectors, rounded to a sector, and its data. */
function* findBlockRefusal({ table, blockBytes }: DynamicHeader, subject: Subject): Steps<ImageRefusal | undefined> {
  const lengthBytes = roundUpTo(blockBytes / SECTOR_BYTES / 8, SECTOR_BYTES) + blockBytes;
  const shared = (offset: number) =>
    refuse('vhd-blocks', { offset, found: 'a block that overlaps another', allowed: 'a block of its own each' });
  const blocks = createAreas(lengthBytes, { fileBytes: subject.sizeBytes });
  const refusal = yield* walkTable(table, { entryBytes: 4 }, (entries, offset) => {
    for (let at = 0; at < entries.length; at += 4) {
      const sector = entries.readUInt32BE(at);
      if (sector === UNUSED) continue;
      const block = { offset: sector * SECTOR_BYTES, lengthBytes };
      if (block.offset < VHD_FOOTER_BYTES || !isWithin(subject, block)) {
        return refuse('vhd-blocks', {
          offset: offset + at,
          found: `a block at byte ${block.offset}`,
          allowed: `within the file of ${subject.sizeBytes} bytes`,
        });
      }
      if (!blocks.add(block.offset)) return shared(block.offset);
    }
    return undefined;
  });
  if (refusal) return refusal;
  const sorted = yield* blocks.sort();
  return 'overlapping' in sorted ? shared(sorted.overlapping) : undefined;
}
