import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { MiB } from '../../../workflows/contract/bytes';

export interface Partition {
  /** Its bytes. */
  path: string;
  /** Of the DOS table: 0x06 FAT16, 0x83 Linux. */
  type: number;
  active?: boolean;
}

const SECTOR_BYTES = 512;
export const FIRST_SECTOR = MiB / SECTOR_BYTES;
const TABLE_OFFSET = 446;
const ENTRY_BYTES = 16;

/** Writes a disk with a DOS partition table: `bootCode` in its first sector, the partitions one after the other from 1 MiB on. */
export async function writeDisk(path: string, bootCode: Buffer, partitions: readonly Partition[]): Promise<void> {
  const disk = await open(path, 'wx', 0o600);
  try {
    const table = Buffer.alloc(SECTOR_BYTES);
    bootCode.copy(table, 0, 0, TABLE_OFFSET);
    let firstSector = FIRST_SECTOR;
    for (const [index, partition] of partitions.entries()) {
      const sectors = Math.ceil((await stat(partition.path)).size / SECTOR_BYTES);
      writeEntry(table.subarray(TABLE_OFFSET + index * ENTRY_BYTES), partition, { firstSector, sectors });
      let offset = firstSector * SECTOR_BYTES;
      for await (const chunk of createReadStream(partition.path, { highWaterMark: MiB }) as AsyncIterable<Buffer>) {
        await disk.write(chunk, 0, chunk.length, offset);
        offset += chunk.length;
      }
      firstSector += sectors;
    }
    table.writeUInt16BE(0x55aa, SECTOR_BYTES - 2);
    await disk.write(table, 0, SECTOR_BYTES, 0);
    await disk.truncate(firstSector * SECTOR_BYTES);
  } finally {
    await disk.close();
  }
}

/** An entry by sector numbers alone; cylinders and heads say that they do not fit. */
function writeEntry(
  entry: Buffer,
  { type, active }: Partition,
  { firstSector, sectors }: { firstSector: number; sectors: number },
): void {
  entry.set([active ? 0x80 : 0, 0xfe, 0xff, 0xff, type, 0xfe, 0xff, 0xff]);
  entry.writeUInt32LE(firstSector, 8);
  entry.writeUInt32LE(sectors, 12);
}
