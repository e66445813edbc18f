import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  rawFileOf,
  readFileParts,
  type SparseExtent,
  type ImageFile,
  type SparseReader,
} from '../../../../activities/image/file-parts';
import { createHashedBody } from '../../../../activities/image/hashed-body';
import { qcow2FileOf } from '../../../../activities/image/qcow2-file';
import { writeSparse } from '../../../../activities/image/sparse-write';
import { GiB, KiB, MiB } from '../../../../workflows/contract/bytes';
import { checkImage, compareImages } from '../../../support/images/qemu';

interface Disk extends SparseReader {
  /** @returns what was read, in bytes. */
  readBytes(): number;
}

/** A disk whose data is where its extents are; every read is the same bytes. */
function diskOf(sizeBytes: number, extents: SparseExtent[]): Disk {
  const data = new Map(extents.map((extent) => [extent, randomBytes(extent.lengthBytes)]));
  let readBytes = 0;
  return {
    sizeBytes,
    readBytes: () => readBytes,
    async *extents() {
      yield* extents;
    },
    read: async (offset, lengthBytes) => {
      const bytes = Buffer.alloc(Math.min(lengthBytes, sizeBytes - offset));
      readBytes += bytes.length;
      for (const [extent, own] of data) {
        const from = Math.max(offset, extent.offset);
        const to = Math.min(offset + bytes.length, extent.offset + extent.lengthBytes);
        if (from < to) own.copy(bytes, from - offset, from - extent.offset, to - extent.offset);
      }
      return await Promise.resolve(bytes);
    },
  };
}

const disks: { name: string; sizeBytes: number; extents: SparseExtent[] }[] = [
  { name: 'no data', sizeBytes: MiB, extents: [] },
  { name: 'data everywhere', sizeBytes: 5 * MiB, extents: [{ offset: 0, lengthBytes: 5 * MiB }] },
  {
    name: 'several extents in one cluster, and an end within one',
    sizeBytes: 3 * MiB + 512,
    extents: [
      { offset: 512, lengthBytes: 512 },
      { offset: 4096, lengthBytes: 100 * KiB },
      { offset: 3 * MiB, lengthBytes: 512 },
    ],
  },
  {
    name: 'data in regions that are far from each other',
    sizeBytes: 3 * GiB,
    extents: [
      { offset: 512 * MiB - 64 * KiB, lengthBytes: 128 * KiB },
      { offset: 2 * GiB + 4096, lengthBytes: 9 * MiB },
    ],
  },
];

describe('the file of an image that is made while a disk is read', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ivc-file-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const write = async (name: string, file: ImageFile, disk: Disk): Promise<string> => {
    const path = join(directory, name);
    const handle = await open(path, 'w');
    let position = 0;
    for await (const block of readFileParts(file, disk)) {
      await writeSparse(handle, { view: block, position });
      position += block.length;
    }
    await handle.truncate(position);
    await handle.close();
    expect(position).toBe(file.sizeBytes);
    return path;
  };

  it.each(disks)('is as raw and as qcow2 the same disk: $name', async ({ sizeBytes, extents }) => {
    const disk = diskOf(sizeBytes, extents);
    const raw = await write('raw', rawFileOf(disk), disk);
    for (const { offset, lengthBytes } of extents) {
      const found = Buffer.alloc(lengthBytes);
      const handle = await open(raw, 'r');
      await handle.read(found, 0, lengthBytes, offset);
      await handle.close();
      expect(found.equals(await disk.read(offset, lengthBytes))).toBe(true);
    }
    const path = await write('qcow2', await qcow2FileOf(disk), disk);
    const qcow2 = { path, format: 'qcow2' } as const;
    expect(await checkImage(qcow2)).toEqual({ errors: 0, leaks: 0 });
    expect(await compareImages({ path: raw, format: 'raw' }, qcow2, { strict: false })).toBe(true);
  });

  it('reads no holes', async () => {
    const disk = diskOf(GiB, [{ offset: 64 * KiB, lengthBytes: 64 * KiB }]);
    for (const file of [rawFileOf(disk), await qcow2FileOf(disk)]) {
      const before = disk.readBytes();
      for await (const _ of readFileParts(file, disk));
      expect(disk.readBytes() - before).toBe(64 * KiB);
    }
  });

  it('is hashed while it passes', async () => {
    const disk = diskOf(9 * MiB + 512, [{ offset: MiB, lengthBytes: 6 * MiB }]);
    const hashed = createHashedBody('sha512');
    const own = createHash('sha512');
    const told: number[] = [];
    try {
      const body = hashed.pass(readFileParts(rawFileOf(disk), disk), (bytes) => told.push(bytes));
      for await (const block of body) own.update(block);
      expect(await hashed.digest()).toBe(own.digest('hex'));
      expect(told.at(-1)).toBe(disk.sizeBytes);
    } finally {
      await hashed.close();
    }
  });

  it('ends with what a read has failed with, and no read runs after its end', async () => {
    const disk = diskOf(40 * MiB, [{ offset: 0, lengthBytes: 40 * MiB }]);
    let running = 0;
    const broken: SparseReader = {
      ...disk,
      read: async (offset, lengthBytes) => {
        running += 1;
        try {
          const bytes = await disk.read(offset, lengthBytes);
          if (offset >= 8 * MiB) throw new Error('the backend is away');
          return bytes;
        } finally {
          running -= 1;
        }
      },
    };
    const read = async (): Promise<void> => {
      for await (const _ of readFileParts(rawFileOf(broken), broken));
    };
    await expect(read()).rejects.toThrow('the backend is away');
    expect(running).toBe(0);
  });
});
