import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { expansionLimit, findExpansionRefusal } from './expansion';
import { isWithin, type Range, type Steps, type Subject } from './steps';
import { sortAndFindOverlap, walkTable, walkTables } from './tables';
import { refuse, type Refusal } from './verdict';
import { isStream, VMDK_FLAG_REDUNDANT_GD, VMDK_FLAG_ZERO_GRAIN, type VmdkHeader } from './vmdk-header';

/** Walks the grain directory and, where the disk's size would let a small file write out of all proportion, the grain tables behind it. */
export function* findGrainRefusal(header: VmdkHeader, subject: Subject): Steps<Refusal | undefined> {
  const tableBytes = header.entriesPerTable * 4;
  const directory = {
    offset: header.gdSector * SECTOR_BYTES,
    lengthBytes: Math.ceil(header.capacitySectors / (header.grainSectors * header.entriesPerTable)) * 4,
  };
  const outside = findOutside(header, directory, subject);
  if (outside) return outside;
  const tables: number[] = [];
  const refusal = yield* walkTable(directory, 4, (entries, offset) => {
    for (let at = 0; at < entries.length; at += 4) {
      const table = { offset: entries.readUInt32LE(at) * SECTOR_BYTES, lengthBytes: tableBytes };
      if (table.offset === 0) continue;
      if (!isWithin(subject, table))
        return refuse('vmdk-tables', {
          offset: offset + at,
          found: `a grain table at byte ${table.offset}`,
          allowed: `within the file of ${subject.sizeBytes} bytes`,
        });
      tables.push(table.offset);
    }
    return undefined;
  });
  if (refusal) return refusal;
  const shared = sortAndFindOverlap(tables, tableBytes);
  if (shared !== undefined)
    return refuse('vmdk-tables', {
      offset: shared,
      found: 'a grain table that overlaps another',
      allowed: 'a grain table of its own each',
    });
  return header.virtualBytes <= expansionLimit(subject) ? undefined : yield* findExpansion(tables, header, subject);
}

function findOutside(
  { flags, redundantGdSector }: VmdkHeader,
  directory: Range,
  subject: Subject,
): Refusal | undefined {
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

function* findExpansion(tables: number[], header: VmdkHeader, subject: Subject): Steps<Refusal | undefined> {
  // Plain grains take their own room in the file, so only shared ones can outgrow it.
  const limited = isStream(header)
    ? subject
    : { ...subject, policy: { ...subject.policy, maxExpansion: 1, expansionAllowanceBytes: header.grainBytes } };
  const firstData = (header.flags & VMDK_FLAG_ZERO_GRAIN) === 0 ? 1 : 2;
  let grains = 0;
  return yield* walkTables(tables, header.entriesPerTable * 4, (table, offset) => {
    for (let at = 0; at < table.length; at += 4) if (table.readUInt32LE(at) >= firstData) grains++;
    return findExpansionRefusal(grains * header.grainBytes, { subject: limited, offset });
  });
}
