import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { expansionLimit, findExpansionRefusal } from './expansion';
import { isWithin, type Range, type Steps, type Subject } from './steps';
import { createAreas, walkTable, walkTables } from './tables';
import { refuse, type ImageRefusal } from './verdict';
import { isStream, VMDK_FLAG_REDUNDANT_GD, VMDK_FLAG_ZERO_GRAIN, type VmdkHeader } from './vmdk-header';

/** Walks the grain directory and the grain tables behind it, which share no byte, so that a walk costs no more than the file has. */
export function* findGrainRefusal(header: VmdkHeader, subject: Subject): Steps<ImageRefusal | undefined> {
  const tableBytes = header.entriesPerTable * 4;
  const directory = {
    offset: header.gdSector * SECTOR_BYTES,
    lengthBytes: Math.ceil(header.capacitySectors / (header.grainSectors * header.entriesPerTable)) * 4,
  };
  const outside = findOutside(header, directory, subject);
  if (outside) return outside;
  const shared = (offset: number) =>
    refuse('vmdk-tables', {
      offset,
      found: 'a grain table that overlaps another',
      allowed: 'a grain table of its own each',
    });
  const tables = createAreas(tableBytes, { fileBytes: subject.sizeBytes });
  const refusal = yield* walkTable(directory, { entryBytes: 4 }, (entries, offset) => {
    for (let at = 0; at < entries.length; at += 4) {
      const table = { offset: entries.readUInt32LE(at) * SECTOR_BYTES, lengthBytes: tableBytes };
      if (table.offset === 0) continue;
      if (!isWithin(subject, table))
        return refuse('vmdk-tables', {
          offset: offset + at,
          found: `a grain table at byte ${table.offset}`,
          allowed: `within the file of ${subject.sizeBytes} bytes`,
        });
      if (!tables.add(table.offset)) return shared(table.offset);
    }
    return undefined;
  });
  if (refusal) return refusal;
  const sorted = yield* tables.sort();
  if ('overlapping' in sorted) return shared(sorted.overlapping);
  return yield* findDataRefusal(sorted.offsets, header, subject);
}

function findOutside(
  { flags, redundantGdSector }: VmdkHeader,
  directory: Range,
  subject: Subject,
): ImageRefusal | undefined {
  const redundant = { offset: redundantGdSector * SECTOR_BYTES, lengthBytes: directory.lengthBytes };
  const directories = (flags & VMDK_FLAG_REDUNDANT_GD) === 0 ? [directory] : [directory, redundant];
  const outside = directories.find((candidate) => candidate.offset < SECTOR_BYTES || !isWithin(subject, candidate));
  if (outside === undefined) return undefined;
  const found = `a grain directory of ${outside.lengthBytes} bytes at byte ${outside.offset}`;
  return refuse('vmdk-tables', {
    offset: outside === directory ? 56 : 48,
    found,
    allowed: `behind the header, within the file of ${subject.sizeBytes} bytes`,
  });
}

/** As `qemu-img check` has it, a grain begins within the file; and where the disk's size would let a small file write out of all proportion, they are counted. */
function* findDataRefusal(tables: Float64Array, header: VmdkHeader, subject: Subject): Steps<ImageRefusal | undefined> {
  const isCounted = header.virtualBytes > expansionLimit(subject);
  // Plain grains take their own room in the file, so only shared ones can outgrow it.
  const limited = isStream(header)
    ? subject
    : { ...subject, policy: { ...subject.policy, maxExpansion: 1, expansionAllowanceBytes: header.grainBytes } };
  const firstData = (header.flags & VMDK_FLAG_ZERO_GRAIN) === 0 ? 1 : 2;
  let grains = 0;
  const layout = { tableBytes: header.entriesPerTable * 4, entryBytes: 4 };
  return yield* walkTables(tables, layout, (table, offset) => {
    for (let at = 0; at < table.length; at += 4) {
      const sector = table.readUInt32LE(at);
      if (sector < firstData) continue;
      grains++;
      if (sector * SECTOR_BYTES < subject.sizeBytes) continue;
      return refuse('file-truncated', {
        offset: offset + at,
        found: `a grain at byte ${sector * SECTOR_BYTES} of a file that ends at byte ${subject.sizeBytes}`,
        allowed: 'grains within the file',
      });
    }
    return isCounted ? findExpansionRefusal(grains * header.grainBytes, { subject: limited, offset }) : undefined;
  });
}
