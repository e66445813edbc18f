import type { ImagePolicy } from '../policy';
import { refuse, type ImageRefusal } from './verdict';

const FIRST_ENTRY = 446;
const ENTRY_BYTES = 16;
const GPT_PROTECTIVE = 0xee;
/** FAT's boot sector ends as an MBR does: two FATs and the media byte of a fixed disk tell it apart. */
const FAT_COUNT_OFFSET = 0x10;
const FAT_MEDIA_OFFSET = 0x15;

interface Entry {
  offset: number;
  bootFlag: number;
  startChs: string;
  type: number;
  startSector: number;
}

/**
 * Looks at an MBR's four entries. Host tools never follow them, so the default asks only that a protective entry protects;
 * `strictPartitionTables` asks for all that the UEFI specification draws, hybrid MBRs and odd CHS values excluded.
 * @param bootSector 512 bytes that end with the boot signature.
 */
export function findPartitionTableRefusal(
  bootSector: Buffer,
  { strictPartitionTables }: ImagePolicy,
): ImageRefusal | undefined {
  if (bootSector[FAT_COUNT_OFFSET] === 2 && bootSector[FAT_MEDIA_OFFSET] === 0xf8) return undefined;
  const entries = [0, 1, 2, 3].map((index) => parseEntry(bootSector, FIRST_ENTRY + index * ENTRY_BYTES));
  const protective = entries.find(({ type }) => type === GPT_PROTECTIVE);
  const used = entries.filter(({ type }) => type !== 0);
  if (strictPartitionTables) return findStrictRefusal(entries, used);
  if (protective === undefined || used.length > 1 || protective.startSector === 1) return undefined;
  return refuse('partition-table-malformed', {
    offset: protective.offset,
    found: `a protective entry from sector ${protective.startSector}`,
    allowed: 'from sector 1',
  });
}

function findStrictRefusal(entries: Entry[], used: Entry[]): ImageRefusal | undefined {
  const malformed = (entry: Entry, found: string, allowed: string) =>
    refuse('partition-table-malformed', { offset: entry.offset, found, allowed });
  const badFlag = entries.find(({ bootFlag }) => bootFlag !== 0 && bootFlag !== 0x80);
  if (badFlag) return malformed(badFlag, `boot flag ${badFlag.bootFlag}`, '0 or 128');
  const [first] = used;
  if (first === undefined)
    return refuse('partition-table-malformed', { offset: FIRST_ENTRY, found: 'no partition', allowed: 'one at least' });
  const protective = used.find(({ type }) => type === GPT_PROTECTIVE);
  if (protective === undefined) return undefined;
  if (used.length > 1 || first.offset !== FIRST_ENTRY)
    return malformed(protective, 'partitions beside a protective entry', 'the protective one alone');
  if (protective.startSector !== 1)
    return malformed(protective, `a protective entry from sector ${protective.startSector}`, 'from sector 1');
  return protective.startChs === '000200'
    ? undefined
    : malformed(protective, `start CHS ${protective.startChs}`, '000200');
}

function parseEntry(bootSector: Buffer, offset: number): Entry {
  return {
    offset,
    bootFlag: bootSector.readUInt8(offset),
    startChs: bootSector.toString('hex', offset + 1, offset + 4),
    type: bootSector.readUInt8(offset + 4),
    startSector: bootSector.readUInt32LE(offset + 8),
  };
}
