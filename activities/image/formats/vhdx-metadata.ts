import { KiB, MiB, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { firstRefusal, need, u64le, type Check, type Steps, type Subject } from './steps';
import { isPowerOfTwo } from './tables';
import { findSizeRefusal, refuse, type ImageRefusal } from './verdict';
import { parseMetadataTable, VHDX_TABLE_BYTES, vhdxGuids, type VhdxItem, type VhdxRegion } from './vhdx-structures';

/** The disk by its metadata. */
export interface VhdxDisk {
  offset: number;
  virtualBytes: number;
  blockBytes: number;
  hasParent: boolean;
  logicalSectorBytes: number;
  physicalSectorBytes: number;
}

/** The items that every disk has, and their lengths in bytes. */
const requiredItems = [
  { name: 'fileParameters', bytes: 8 },
  { name: 'virtualSize', bytes: 8 },
  { name: 'page83', bytes: 16 },
  { name: 'logicalSector', bytes: 4 },
  { name: 'physicalSector', bytes: 4 },
] as const;
const known = new Set(Object.values(vhdxGuids));
const HAS_PARENT = 2;
const MAX_BLOCK_BYTES = 256 * MiB;

/** Reads the metadata region: a table of 64 KiB, then the items. */
export function* readVhdxMetadata(region: VhdxRegion, subject: Subject): Steps<VhdxDisk | ImageRefusal> {
  const items = parseMetadataTable(yield* need(region.offset, VHDX_TABLE_BYTES));
  const refusal = findItemRefusal(items, region);
  if (refusal || !items) return refusal ?? itemsRefusal(region, 'no table');
  const disk = parseDisk(yield* readItems(items, region), region);
  return firstRefusal(disk, subject, diskChecks) ?? disk;
}

/** @returns the values of the required items, all there, in their order. */
function* readItems(items: VhdxItem[], region: VhdxRegion): Steps<Buffer[]> {
  const values: Buffer[] = [];
  for (const { name, bytes } of requiredItems) {
    const item = items.find(({ guid }) => guid === vhdxGuids[name]);
    if (item) values.push(yield* need(region.offset + item.offset, bytes));
  }
  return values;
}

function parseDisk(values: Buffer[], { offset }: VhdxRegion): VhdxDisk {
  const [fileParameters, virtualSize, , logicalSector, physicalSector] = values;
  return {
    offset,
    virtualBytes: virtualSize ? u64le(virtualSize, 0) : 0,
    blockBytes: fileParameters?.readUInt32LE(0) ?? 0,
    hasParent: ((fileParameters?.readUInt32LE(4) ?? 0) & HAS_PARENT) !== 0,
    logicalSectorBytes: logicalSector?.readUInt32LE(0) ?? 0,
    physicalSectorBytes: physicalSector?.readUInt32LE(0) ?? 0,
  };
}

function findItemRefusal(items: VhdxItem[] | undefined, region: VhdxRegion): ImageRefusal | undefined {
  if (items === undefined) return itemsRefusal(region, 'a wrong signature or count');
  if (items.some(({ guid }) => guid === vhdxGuids.parentLocator))
    return refuse('vhdx-parent', { offset: region.offset, found: 'a parent locator', allowed: 'no parent' });
  if (new Set(items.map(({ guid }) => guid)).size !== items.length) return itemsRefusal(region, 'an item twice');
  if (items.some(({ guid, isRequired }) => isRequired && !known.has(guid)))
    return itemsRefusal(region, 'an unknown required item');
  const misplaced = items.find(
    ({ offset, lengthBytes }) => lengthBytes > 0 && (offset < 64 * KiB || offset + lengthBytes > region.lengthBytes),
  );
  if (misplaced)
    return itemsRefusal(region, `an item of ${misplaced.lengthBytes} bytes at byte ${misplaced.offset} of its region`);
  const wrong = requiredItems.find(
    ({ name, bytes }) => items.find(({ guid }) => guid === vhdxGuids[name])?.lengthBytes !== bytes,
  );
  return wrong && itemsRefusal(region, `no ${wrong.name} of ${wrong.bytes} bytes`);
}

function itemsRefusal({ offset }: VhdxRegion, found: string): ImageRefusal {
  return refuse('vhdx-metadata', {
    offset,
    found,
    allowed: 'each required item once, within the region and behind its table',
  });
}

const diskChecks: Check<VhdxDisk>[] = [
  ({ hasParent, offset }) =>
    hasParent ? refuse('vhdx-parent', { offset, found: 'a differencing disk', allowed: 'no parent' }) : undefined,
  ({ virtualBytes, offset }, { policy }) => findSizeRefusal(virtualBytes, { policy, offset }),
  ({ blockBytes, offset }) =>
    isPowerOfTwo(blockBytes) && blockBytes >= MiB && blockBytes <= MAX_BLOCK_BYTES
      ? undefined
      : refuse('vhdx-block-size', {
          offset,
          found: `${blockBytes} bytes`,
          allowed: `a power of two from ${MiB} to ${MAX_BLOCK_BYTES}`,
        }),
  // QEMU 7.2 counts sectors of 4096 bytes as if they had 512 and shows an eighth of the disk.
  ({ logicalSectorBytes, physicalSectorBytes, offset }) =>
    logicalSectorBytes === SECTOR_BYTES && (physicalSectorBytes === SECTOR_BYTES || physicalSectorBytes === 4096)
      ? undefined
      : refuse('vhdx-sector-size', {
          offset,
          found: `${logicalSectorBytes} logical, ${physicalSectorBytes} physical`,
          allowed: '512 logical, 512 or 4096 physical',
        }),
  ({ virtualBytes, offset }) =>
    virtualBytes % SECTOR_BYTES === 0
      ? undefined
      : refuse('virtual-size-unaligned', {
          offset,
          found: `${virtualBytes} bytes`,
          allowed: 'a multiple of 512 bytes',
        }),
];
