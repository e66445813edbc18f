import { MiB, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { isWithin, type Steps, type Subject } from './steps';
import { createAreas, walkTable } from './tables';
import { refuse, type ImageRefusal } from './verdict';
import type { VhdxDisk } from './vhdx-metadata';
import type { VhdxRegion } from './vhdx-structures';

const SECTORS_PER_BITMAP_BLOCK = 2 ** 23;
/** States of a payload block: not present, undefined, zero, unmapped; fully present. Partial presence needs a parent. */
const ABSENT_STATES = [0, 1, 2, 3];
const FULLY_PRESENT = 6;

/** Walks the block allocation table, in which every `chunkRatio` payload blocks are followed by one for their sector bitmap. */
export function* findVhdxBlockRefusal({
  disk,
  bat,
  subject,
}: {
  disk: VhdxDisk;
  bat: VhdxRegion;
  subject: Subject;
}): Steps<ImageRefusal | undefined> {
  const { blockBytes } = disk;
  const chunkRatio = (SECTORS_PER_BITMAP_BLOCK * SECTOR_BYTES) / blockBytes;
  const payloadBlocks = Math.ceil(disk.virtualBytes / blockBytes);
  const table = { offset: bat.offset, lengthBytes: (payloadBlocks + Math.floor((payloadBlocks - 1) / chunkRatio)) * 8 };
  if (table.lengthBytes > bat.lengthBytes || bat.lengthBytes > subject.policy.maxTableBytes) {
    const allowed = `${table.lengthBytes} to ${subject.policy.maxTableBytes} bytes`;
    return refuse('vhdx-table', { offset: bat.offset, found: `${bat.lengthBytes} bytes`, allowed });
  }
  const shared = (offset: number) =>
    refuse('vhdx-blocks', { offset, found: 'a block that overlaps another', allowed: 'a block of its own each' });
  const blocks = createAreas(blockBytes, { fileBytes: subject.sizeBytes });
  const refusal = yield* walkTable(table, { entryBytes: 8 }, (entries, offset) => {
    for (let at = 0; at < entries.length; at += 8) {
      const isBitmap = ((offset - bat.offset + at) / 8) % (chunkRatio + 1) === chunkRatio;
      const state = entries.readUInt8(at) & 7;
      if (isBitmap || ABSENT_STATES.includes(state)) continue;
      const block = { offset: Number(entries.readBigUInt64LE(at) >> 20n) * MiB, lengthBytes: blockBytes };
      if (state !== FULLY_PRESENT || block.offset < MiB || !isWithin(subject, block)) {
        return refuse('vhdx-blocks', {
          offset: offset + at,
          found: `a block in state ${state} at byte ${block.offset}`,
          allowed: `fully present within the file of ${subject.sizeBytes} bytes`,
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
