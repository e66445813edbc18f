import { KiB, MiB } from '../../../workflows/contract/bytes';
import { isWithin, need, overlap, type Range, type Steps, type Subject } from './steps';
import { refuse, type ImageRefusal, type ImageVerdict } from './verdict';
import { findVhdxBlockRefusal } from './vhdx-blocks';
import { readVhdxMetadata } from './vhdx-metadata';
import {
  parseRegionTable,
  parseVhdxHeader,
  VHDX_HEADER_BYTES,
  VHDX_TABLE_BYTES,
  vhdxGuids,
  type VhdxHeader,
  type VhdxRegion,
} from './vhdx-structures';

const HEADER_OFFSETS = [64 * KiB, 128 * KiB] as const;
const REGION_TABLE_OFFSETS = [192 * KiB, 256 * KiB] as const;
const HEADER_SECTION: Range = { offset: 0, lengthBytes: MiB };

/** Inspects a file with VHDX's signature: headers, log, regions, metadata, block allocation table. */
export function* inspectVhdx(subject: Subject): Steps<ImageVerdict> {
  const header = yield* readHeader();
  if ('kind' in header) return header;
  const regions = yield* readRegions(header, subject);
  if ('kind' in regions) return regions;
  const disk = yield* readVhdxMetadata(regions.metadata, subject);
  if ('kind' in disk) return disk;
  const refusal = yield* findVhdxBlockRefusal({ disk, bat: regions.bat, subject });
  return (
    refusal ?? {
      kind: 'accepted',
      format: 'vhdx',
      virtualSizeBytes: disk.virtualBytes,
      details: { blockBytes: disk.blockBytes },
    }
  );
}

/** @returns the valid header with the higher sequence number. */
function* readHeader(): Steps<VhdxHeader | ImageRefusal> {
  const [firstOffset, secondOffset] = HEADER_OFFSETS;
  const first = parseVhdxHeader(yield* need(firstOffset, VHDX_HEADER_BYTES));
  const second = parseVhdxHeader(yield* need(secondOffset, VHDX_HEADER_BYTES));
  const current = first && second ? (second.sequence > first.sequence ? second : first) : (first ?? second);
  const wrong = (found: string) =>
    refuse('vhdx-header', { offset: firstOffset, found, allowed: 'a header of version 1 with its checksum' });
  if (current === undefined) return wrong('no valid header');
  if (current.version !== 1) return wrong(`version ${current.version}`);
  if (current.logIsEmpty) return current;
  return refuse('vhdx-log', {
    offset: firstOffset + 48,
    found: 'a log to be replayed',
    allowed: 'a disk that was closed cleanly',
  });
}

function* readRegions(
  header: VhdxHeader,
  subject: Subject,
): Steps<{ bat: VhdxRegion; metadata: VhdxRegion } | ImageRefusal> {
  const [firstOffset, secondOffset] = REGION_TABLE_OFFSETS;
  const wrong = (found: string) =>
    refuse('vhdx-region-table', {
      offset: firstOffset,
      found,
      allowed: 'two equal tables; one BAT and one metadata region, in whole MiB, apart, within the file',
    });
  const table = yield* need(firstOffset, VHDX_TABLE_BYTES);
  const copy = yield* need(secondOffset, VHDX_TABLE_BYTES);
  const regions = parseRegionTable(table);
  if (regions === undefined || !table.equals(copy)) return wrong('a wrong signature, checksum, count or copy');
  const [bat, ...otherBats] = regions.filter(({ guid }) => guid === vhdxGuids.bat);
  const [metadata, ...otherMetadata] = regions.filter(({ guid }) => guid === vhdxGuids.metadata);
  if (!bat || !metadata || otherBats.length + otherMetadata.length > 0) return wrong('not one of each known region');
  if (regions.some((region) => region.isRequired && region !== bat && region !== metadata))
    return wrong('an unknown required region');
  const displaced = findDisplaced(regions, header.log, subject);
  return displaced
    ? wrong(`a region of ${displaced.lengthBytes} bytes at byte ${displaced.offset}`)
    : { bat, metadata };
}

/** @returns a region that is unaligned, outside the file or in the way of another area. */
function findDisplaced(regions: VhdxRegion[], log: Range, subject: Subject): Range | undefined {
  const taken: Range[] = [HEADER_SECTION, log];
  return regions.find((region) => {
    const isPlaced =
      region.lengthBytes > 0 &&
      region.offset % MiB === 0 &&
      region.lengthBytes % MiB === 0 &&
      isWithin(subject, region);
    const isFree = taken.every((other) => !overlap(region, other));
    taken.push(region);
    return !isPlaced || !isFree;
  });
}
