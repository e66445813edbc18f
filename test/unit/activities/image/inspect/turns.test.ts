import { inspect, type ImageVerdict } from '../../../../../activities/image/inspect';
import { defaultImagePolicy } from '../../../../../activities/image/policy';
import { MiB, TiB } from '../../../../../workflows/contract/bytes';
import { qcow2Image, vdiImage, vhdImage, vhdxImage, vmdkImage } from '../../../../support/images/image-fixtures';

/** Entries that one turn may look at, whatever the format: less than 10 ms of work. */
const ENTRIES_A_TURN = 65_536;

interface Sparse {
  sizeBytes: number;
  /** Apart from these the file is zeros. */
  pieces: { offset: number; bytes: Buffer }[];
}

/** Inspects a file of which nothing is on a disk, so that no read gives the loop back. @returns the verdict, and how often others had their turn. */
async function inspectInTurns(declaredFormat: string, file: Sparse): Promise<{ verdict: ImageVerdict; turns: number }> {
  let turns = 0;
  let next = setImmediate(function count() {
    turns += 1;
    next = setImmediate(count);
  });
  const policy = { ...defaultImagePolicy, maxVirtualBytes: 2 ** 50, expansionAllowanceBytes: 2 ** 50 };
  const read = (offset: number, lengthBytes: number) => Promise.resolve(readSparse(file, { offset, lengthBytes }));
  try {
    const verdict = await inspect({ declaredFormat, sizeBytes: file.sizeBytes, policy, read });
    return { verdict, turns };
  } finally {
    clearImmediate(next);
  }
}

function readSparse({ pieces }: Sparse, { offset, lengthBytes }: { offset: number; lengthBytes: number }): Buffer {
  const read = Buffer.alloc(lengthBytes);
  for (const piece of pieces) {
    const from = Math.max(offset, piece.offset);
    const end = Math.min(offset + lengthBytes, piece.offset + piece.bytes.length);
    if (from < end) piece.bytes.copy(read, from - offset, from - piece.offset, end - piece.offset);
  }
  return read;
}

/** Sorting so many numbers takes more turns than looking at them: each is merged with others again and again. */
const turnsToSort = (entries: number): number => (entries / ENTRIES_A_TURN) * Math.log2(entries / ENTRIES_A_TURN);

describe('The tables of a hostile image', () => {
  const entries = 2 ** 19;

  it('leave others their turn: a VDI with half a million blocks, in order or not, shared or not', async () => {
    const head = vdiImage({ virtualBytes: entries * MiB });
    const map = 512;
    const dataOffset = head.readUInt32LE(0x158);
    head.writeUInt32LE(entries, 0x184);
    const file = { sizeBytes: dataOffset + entries * MiB, pieces: [{ offset: 0, bytes: head }] };
    const empty = await inspectInTurns('vdi', file);
    expect(empty).toMatchObject({ verdict: { kind: 'accepted' } });
    expect(empty.turns).toBeGreaterThanOrEqual(entries / ENTRIES_A_TURN);
    // The last block first, so that the sort has all to do.
    for (let index = 0; index < entries; index++) head.writeUInt32LE(entries - 1 - index, map + index * 4);
    const full = await inspectInTurns('vdi', file);
    expect(full).toMatchObject({ verdict: { kind: 'accepted' } });
    expect(full.turns).toBeGreaterThanOrEqual(empty.turns + turnsToSort(entries));
    head.writeUInt32LE(7, map);
    expect(await inspectInTurns('vdi', file)).toMatchObject({ verdict: { rule: 'vdi-blocks' } });
  });

  it('cost no more than the file has room for: a small VDI with a large map', async () => {
    const head = vdiImage({ virtualBytes: TiB });
    head.fill(0, 512, 512 + 4 * MiB);
    const { verdict, turns } = await inspectInTurns('vdi', {
      sizeBytes: 232 * MiB,
      pieces: [{ offset: 0, bytes: head }],
    });
    expect(verdict).toMatchObject({ rule: 'vdi-blocks' });
    expect(turns).toBeLessThan(10);
  });

  it('leave others their turn: a VHDX with a large table', async () => {
    const blocks = entries / 2;
    const head = vhdxImage({ virtualBytes: blocks * 32 * MiB, blockBytes: 32 * MiB, batBytes: 8 * MiB });
    const bat = 3 * MiB;
    const chunk = 129;
    const sizeBytes = (blocks + 64) * 32 * MiB;
    for (let index = 0, block = blocks; block > 0; index++)
      if (index % chunk !== chunk - 1) head.writeBigUInt64LE((BigInt(block-- + 8) << 25n) | 6n, bat + index * 8);
    const { verdict, turns } = await inspectInTurns('vhdx', { sizeBytes, pieces: [{ offset: 0, bytes: head }] });
    expect(verdict).toMatchObject({ kind: 'accepted' });
    expect(turns).toBeGreaterThanOrEqual(blocks / ENTRIES_A_TURN + turnsToSort(blocks));
  });

  it('leave others their turn: a VHD with a large table', async () => {
    const head = vhdImage({ virtualBytes: entries * 2 * MiB });
    const footer = head.subarray(head.length - 512);
    const sizeBytes = 512 * 2 ** 32;
    const blockSectors = 1 + 4096;
    for (let index = 0; index < entries / 2; index++)
      head.writeUInt32BE(16_384 + (entries / 2 - index) * blockSectors, 1536 + index * 4);
    const { verdict, turns } = await inspectInTurns('vhd', {
      sizeBytes: sizeBytes + 4 * TiB,
      pieces: [
        { offset: 0, bytes: head },
        { offset: sizeBytes + 4 * TiB - 512, bytes: footer },
      ],
    });
    expect(verdict).toMatchObject({ kind: 'accepted' });
    expect(turns).toBeGreaterThanOrEqual(entries / ENTRIES_A_TURN + turnsToSort(entries / 2));
  });

  it('leave others their turn: a qcow2 with many L2 tables', async () => {
    const tables = 2 ** 18;
    const image = qcow2Image({ clusterBits: 9, virtualBytes: tables * 64 * 512 });
    const l1 = Number(image.readBigUInt64BE(40));
    const first = Math.ceil(image.length / 512);
    for (let index = 0; index < tables; index++)
      image.writeBigUInt64BE(BigInt((first + tables - index) * 512), l1 + index * 8);
    const sizeBytes = (first + tables + 1) * 512;
    const { verdict, turns } = await inspectInTurns('qcow2', { sizeBytes, pieces: [{ offset: 0, bytes: image }] });
    expect(verdict).toMatchObject({ kind: 'accepted' });
    expect(turns).toBeGreaterThanOrEqual((tables * 64) / ENTRIES_A_TURN + turnsToSort(tables));
  });

  it('leave others their turn: a qcow2 with the largest L2 tables', async () => {
    const perTable = (2 * MiB) / 8;
    const image = qcow2Image({
      clusterBits: 21,
      virtualBytes: 8 * perTable * 2 * MiB,
      l2Tables: Array.from({ length: 8 }, () => []),
    });
    const { verdict, turns } = await inspectInTurns('qcow2', {
      sizeBytes: image.length,
      pieces: [{ offset: 0, bytes: image }],
    });
    expect(verdict).toMatchObject({ kind: 'accepted' });
    expect(turns).toBeGreaterThanOrEqual((8 * perTable) / ENTRIES_A_TURN);
  });

  it('leave others their turn: a VMDK with many grain tables', async () => {
    const tables = 2 ** 16;
    const image = vmdkImage({ capacitySectors: tables * 512 * 128 });
    const { verdict, turns } = await inspectInTurns('vmdk', {
      sizeBytes: image.length,
      pieces: [{ offset: 0, bytes: image }],
    });
    expect(verdict).toMatchObject({ kind: 'accepted' });
    expect(turns).toBeGreaterThanOrEqual((tables * 512) / ENTRIES_A_TURN);
  });
});
