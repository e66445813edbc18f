import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import * as fc from 'fast-check';
import { clusterCompressions } from '../../../../activities/image/decompress-clusters';
import { createQcow2Layout } from '../../../../activities/image/formats/qcow2-layout';
import { createFileWriter } from '../../../../activities/image/guest-writer';
import { createQcow2Unpacking } from '../../../../activities/image/unpack-qcow2';
import { KiB, MiB } from '../../../../workflows/contract/bytes';
import { inspectBytes, mutantsOf, patched, qcow2Image } from '../../../support/images/image-fixtures';

const directory = mkdtempSync(join(tmpdir(), 'unpack-'));
const path = join(directory, 'image.qcow2');
const target = join(directory, 'target.raw');
const converted = join(directory, 'converted.raw');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const QEMU_TIMEOUT_MS = 20_000;
const CLUSTER = 64 * KiB;
/** Odd, so that no piece begins or ends where a cluster does. */
const PIECE_BYTES = 300_007;
const MOST_GUEST_BYTES = 2 ** 40;

/** Node 20 has none; its images of that kind are converted by `qemu-img`. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const hasZstd = major >= 24 || (major === 22 && minor >= 15);

function qemu(tool: 'qemu-img' | 'qemu-io', ...args: string[]): void {
  execFileSync(tool, args, { timeout: QEMU_TIMEOUT_MS, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** An image that a guest has written to, in the order of `commands`. */
function write(size: string, options: string, commands: string[]): void {
  qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...(options === '' ? [] : ['-o', options]), path, size);
  if (commands.length > 0) qemu('qemu-io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path);
}

/** Unpacks `path` into `target`, as it comes in pieces of so many bytes. @returns why not, or the size. */
async function unpack(
  pieceBytes = PIECE_BYTES,
  mostGuestBytes = MOST_GUEST_BYTES,
): Promise<{ virtualBytes: number } | { unfinished: unknown }> {
  rmSync(target, { force: true });
  const unpacking = createQcow2Unpacking({
    sizeBytes: statSync(path).size,
    mostGuestBytes,
    openTarget: async (virtualBytes) => {
      const handle = await open(target, 'wx');
      await handle.truncate(virtualBytes);
      return createFileWriter(handle);
    },
  });
  const bytes = readFileSync(path);
  for (let at = 0; at < bytes.length; at += pieceBytes) void unpacking.see(bytes.subarray(at, at + pieceBytes));
  const image = await open(path);
  try {
    return await unpacking.finish(image);
  } finally {
    await unpacking.end();
    await image.close();
  }
}

/** @returns whether qemu-img converts it at all. */
function convert(): boolean {
  rmSync(converted, { force: true });
  const args = ['convert', '-f', 'qcow2', '-O', 'raw', path, converted];
  const { status, signal } = spawnSync('qemu-img', args, { timeout: QEMU_TIMEOUT_MS, stdio: 'ignore' });
  expect(signal).toBeNull();
  return status === 0;
}

/** @returns whether two raw files have the same size and bytes; holes cost nothing. */
function isSame(one: string, other: string): boolean {
  const args = ['compare', '-f', 'raw', '-F', 'raw', one, other];
  const { status } = spawnSync('qemu-img', args, { timeout: QEMU_TIMEOUT_MS, stdio: 'ignore' });
  return statSync(one).size === statSync(other).size && status === 0;
}

/** @returns whether it was unpacked, to the size and the bytes that qemu-img makes of it. */
async function isUnpacked(pieceBytes?: number): Promise<boolean> {
  const unpacked = await unpack(pieceBytes);
  if (!convert() || 'unfinished' in unpacked) return false;
  return unpacked.virtualBytes === statSync(converted).size && isSame(target, converted);
}

const compressionTypes = hasZstd ? ['zlib', 'zstd'] : ['zlib'];
const scattered = ['write -P 3 0 1M', 'write -P 4 20M 192k', 'write -P 5 700001k 3k', 'write -P 6 1279M 1M'];

describe('a qcow2 that is unpacked while it comes', () => {
  it.each([
    '',
    'compat=0.10',
    'cluster_size=4k',
    'cluster_size=2M',
    'lazy_refcounts=on',
    'refcount_bits=1',
    'preallocation=metadata',
  ])('has the bytes that qemu-img converts, made with %p', async (options) => {
    write('1280M', options, scattered);
    expect(await isUnpacked()).toBe(true);
  });

  it.each([1, 71, 65_536, 8 * MiB])('has them whatever pieces it comes in, such as %d bytes', async (pieceBytes) => {
    // Byte by byte only what is small.
    write('3M', 'cluster_size=4k', pieceBytes === 1 ? ['write -P 9 1M 4k'] : ['write -P 9 0 1M', 'write -P 8 2M 500k']);
    expect(await isUnpacked(pieceBytes)).toBe(true);
  });

  it('leaves out what reads as zeros: unallocated, discarded, written with zeros, zeroed with a cluster behind it', async () => {
    write('64M', 'preallocation=metadata', [
      'write -P 7 0 8M',
      'discard 1M 1M',
      'write -z 3M 1M',
      'write -z -u 5M 1M',
      'write -P 0 7M 1M',
    ]);
    expect(await isUnpacked()).toBe(true);
    expect(statSync(target).blocks * 512).toBeLessThan(4.5 * MiB);
  });

  it('has a disk that ends within a cluster, and a file that does', async () => {
    write('1000001k', '', ['write -P 7 1000000k 1k', 'write -P 8 0 64k']);
    expect(await isUnpacked()).toBe(true);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, bytes.length - 32 * KiB));
    const cut = await unpack();
    expect(convert() && isSame(converted, target)).toBe(true);
    expect(cut).toEqual({ virtualBytes: 1_000_001 * KiB });
  });

  it('has an image of random data as qemu-img converts it, its tables among the data', async () => {
    const raw = join(directory, 'random.raw');
    const file = await open(raw, 'w');
    await file.truncate(1200 * MiB);
    for (let at = 12_345; at < 1100 * MiB; at += 100 * MiB) await file.write(randomBytes(2 * MiB), 0, 2 * MiB, at);
    await file.close();
    qemu('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-W', '-m', '16', raw, path);
    expect(await unpack(4 * MiB)).toEqual({ virtualBytes: 1200 * MiB });
    expect(isSame(target, raw)).toBe(true);
  });

  it('has what a guest has written from its end to its start, and over again', async () => {
    const backwards = Array.from({ length: 30 }, (_none, at) => `write -P ${at + 1} ${(29 - at) * 43}M 130k`);
    write('1300M', '', [...backwards, 'discard 0 800M', 'write -P 77 900M 1M', 'write -P 78 1M 3M']);
    expect(await isUnpacked()).toBe(true);
  });

  it('brings clusters that came before their table, and those that two entries name', async () => {
    const [first, l2, last] = [5, 6, 7];
    const image = Buffer.concat([
      qcow2Image({ virtualBytes: 32 * MiB }),
      Buffer.alloc(CLUSTER, 0x11),
      Buffer.alloc(CLUSTER),
      Buffer.alloc(CLUSTER, 0x22),
    ]);
    const entry = (cluster: number) => BigInt(cluster * CLUSTER);
    writeFileSync(
      path,
      patched(image, [
        [3 * CLUSTER, 'u64be', entry(l2)],
        [l2 * CLUSTER, 'u64be', entry(first)],
        [l2 * CLUSTER + 8, 'u64be', entry(last)],
        [l2 * CLUSTER + 24, 'u64be', entry(last)],
        [l2 * CLUSTER + 32, 'u64be', entry(first)],
      ]),
    );
    expect(await isUnpacked()).toBe(true);
    const bytes = readFileSync(target);
    expect([0, 1, 2, 3, 4].map((cluster) => bytes[cluster * CLUSTER])).toEqual([0x11, 0x22, 0, 0x22, 0x11]);
  });

  it.each([
    '',
    'compat=0.10',
    ...compressionTypes.flatMap((type) =>
      ['4k', '64k', '2M'].map((size) => `compression_type=${type},cluster_size=${size}`),
    ),
  ])('has compressed clusters as qemu-img converts them, made with %p', async (options) => {
    compress(...(options === '' ? [] : ['-o', options]));
    for (const pieceBytes of [PIECE_BYTES, 4 * MiB]) expect(await isUnpacked(pieceBytes)).toBe(true);
  });

  it('knows what this Node can decompress', () => {
    expect(clusterCompressions).toEqual(hasZstd ? ['zlib', 'zstd'] : ['zlib']);
  });

  it.each(compressionTypes)('has clusters compressed by %s that a guest has written to', async (type) => {
    compress('-o', `compression_type=${type}`);
    const commands = ['write -P 7 100k 1k', 'write -P 8 2M 3M', 'write -z 300k 64k', 'discard 400k 200k'];
    qemu('qemu-io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path);
    expect(await isUnpacked()).toBe(true);
  });

  it('shares its threads with another that ends before it', async () => {
    compress();
    const bytes = readFileSync(path);
    const other = createQcow2Unpacking({
      sizeBytes: bytes.length,
      mostGuestBytes: MOST_GUEST_BYTES,
      openTarget: async () => createFileWriter(await open(join(directory, 'other.raw'), 'w')),
    });
    const endOther = async (): Promise<void> => {
      await other.see(bytes.subarray(0, bytes.length / 2));
      await other.end();
    };
    const [unpacked] = await Promise.all([isUnpacked(), endOther()]);
    expect(unpacked).toBe(true);
    expect(await isUnpacked()).toBe(true);
  });

  it('brings compressed clusters that came before their table', async () => {
    const [first, l2] = [5, 6];
    const data = deflate(Buffer.alloc(CLUSTER, 'compressible'));
    const image = Buffer.concat([qcow2Image({ virtualBytes: 32 * MiB - 512 }), Buffer.alloc(3 * CLUSTER)]);
    data.copy(image, first * CLUSTER + 300);
    data.copy(image, 7 * CLUSTER - 100 + CLUSTER);
    writeFileSync(
      path,
      patched(image, [
        [3 * CLUSTER, 'u64be', BigInt(l2 * CLUSTER)],
        [l2 * CLUSTER, 'u64be', compressedEntry(first * CLUSTER + 300, data.length)],
        [l2 * CLUSTER + 511 * 8, 'u64be', compressedEntry(first * CLUSTER + 300, data.length)],
      ]),
    );
    expect(await isUnpacked()).toBe(true);
    expect(readFileSync(target).subarray(32 * MiB - CLUSTER, 32 * MiB - CLUSTER + 12)).toEqual(
      Buffer.from('compressible'),
    );
  });

  it.each<[string, Buffer, string]>([
    ['is no such data', Buffer.alloc(CLUSTER, 0xff), 'invalid block type'],
    ['is less than a cluster', deflate(Buffer.alloc(CLUSTER - 1, 'short')), 'a cluster of 65535 of 65536 bytes'],
    ['is more than a cluster', deflate(Buffer.alloc(CLUSTER * 1000)), 'larger than 65536 bytes'],
    ['ends too early', deflate(randomBytes(CLUSTER)).subarray(0, 60 * KiB), 'unexpected end of file'],
  ])('leaves to a conversion compressed data that %s', async (_what, data, why) => {
    const image = qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[compressedEntry(6 * CLUSTER, data.length)]] });
    writeFileSync(path, Buffer.concat([image, data]));
    const unpacked = await unpack();
    expect('unfinished' in unpacked && String(unpacked.unfinished)).toContain(why);
  });

  it('has compressed data that repeats what is farther away than it should, as qemu-img takes it', async () => {
    const noise = randomBytes(CLUSTER / 4);
    const data = deflate(Buffer.concat([noise, noise, noise, noise]), 15);
    expect(data.length).toBeLessThan(CLUSTER / 2);
    const image = qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[compressedEntry(6 * CLUSTER, data.length)]] });
    writeFileSync(path, Buffer.concat([image, data]));
    expect(await isUnpacked()).toBe(true);
  });

  it('leaves to a conversion compressed clusters that overlap without end', async () => {
    const entries = Array.from({ length: 1000 }, (_none, at) => compressedEntry(6 * CLUSTER + at, 2 * CLUSTER - 1000));
    const image = qcow2Image({ virtualBytes: 64 * MiB, l2Tables: [entries] });
    writeFileSync(path, Buffer.concat([image, Buffer.alloc(4 * CLUSTER)]));
    expect(await unpack(7 * CLUSTER)).toEqual({ unfinished: 'compressed clusters that overlap' });
  });

  it.each<[string, () => void]>([
    ...(hasZstd ? [] : [['compression type 1', () => compress('-o', 'compression_type=zstd')] as [string, () => void]]),
    ['incompatible features', () => write('1M', 'extended_l2=on', [])],
    ['clusters of 2^9 bytes', () => write('1M', 'cluster_size=512', ['write -P 1 0 64k'])],
    [
      'internal snapshots',
      () => {
        write('1M', '', ['write -P 1 0 64k']);
        qemu('qemu-img', 'snapshot', '-c', 'one', path);
      },
    ],
    ['no header', () => writeFileSync(path, Buffer.alloc(70))],
    ['no header', () => writeFileSync(path, Buffer.alloc(MiB))],
  ])('with %s is left to a conversion', async (why, make) => {
    make();
    expect(await unpack()).toEqual({ unfinished: why });
  });

  it('leaves to a conversion what holds more than is allowed', async () => {
    compress();
    const { size } = statSync(path);
    expect(await unpack(PIECE_BYTES, size)).toEqual({ unfinished: 'clusters out of proportion to its size' });
    expect(await unpack(PIECE_BYTES, 4 * size)).toHaveProperty('virtualBytes');
  });

  it('leaves to a conversion what would write the same bytes over and over', async () => {
    const cluster = 5;
    const entries = Array.from({ length: 1100 }, () => BigInt((cluster + 1) * CLUSTER));
    const image = qcow2Image({ virtualBytes: 80 * MiB, l2Tables: [entries] });
    writeFileSync(path, Buffer.concat([image, Buffer.alloc(CLUSTER, 1)]));
    expect(await unpack()).toEqual({ unfinished: 'data far from its tables' });
  });

  it('agrees with the inspection on a file that ends before its data', async () => {
    const makers = [() => write('24M', '', ['write -P 3 0 1M', 'write -P 4 20M 100k']), () => compress()];
    for (const make of makers) {
      make();
      const whole = readFileSync(path);
      for (const lost of [0, 1, 511, 512, 30 * KiB, CLUSTER - 1, CLUSTER, CLUSTER + 1, 3 * CLUSTER]) {
        const image = whole.subarray(0, whole.length - lost);
        writeFileSync(path, image);
        const isWritten = 'virtualBytes' in (await unpack());
        const { kind } = await inspectBytes(image, 'qcow2');
        expect([lost, isWritten && kind === 'refused']).toEqual([lost, false]);
        expect([lost, isWritten || lost > 0]).toEqual([lost, true]);
      }
    }
  });

  it('leaves to a conversion what would read tables as data, or beyond the file', async () => {
    for (const cluster of [3, 5, 100]) {
      writeFileSync(path, qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[BigInt(cluster * CLUSTER)]] }));
      expect(await unpack()).toEqual({ unfinished: 'an L2 entry that names no data' });
    }
  });

  it('lets others have their turn while it looks at large tables', () => {
    const entries = 2 ** 18;
    const table = Array.from({ length: entries }, (_none, at) => BigInt(at + 10) << 21n);
    const image = qcow2Image({ clusterBits: 21, virtualBytes: entries * 2 * MiB, l2Tables: [table] });
    const layout = createQcow2Layout({ sizeBytes: (entries + 10) * 2 * MiB });
    let takes = 0;
    for (let at = 0; at < image.length; at += layout.take(image.subarray(at)).taken) takes += 1;
    expect(layout.unsuitable).toBeUndefined();
    expect(takes).toBeGreaterThanOrEqual(entries / 8192);
  });

  it('leaves to a conversion compressed clusters that are many and in no order', () => {
    const entries = Array.from({ length: 65_536 }, (_none, at) => compressedEntry(2 ** 30 - at * 1024, 700));
    const l2Tables = Array.from({ length: 8 }, (_none, at) => entries.slice(at * 8192, (at + 1) * 8192));
    const image = qcow2Image({ virtualBytes: 8 * 512 * MiB, l2Tables });
    const layout = createQcow2Layout({ sizeBytes: 2 ** 31 });
    for (let at = 0; at < image.length; at += layout.take(image.subarray(at)).taken);
    expect(layout.unsuitable).toBe('compressed clusters that overlap');
  });

  it('is left to a conversion when its target cannot be written, and what brings it goes on', async () => {
    write('1M', '', ['write -P 1 0 64k']);
    const reason = new Error('no room');
    const unpacking = createQcow2Unpacking({
      sizeBytes: statSync(path).size,
      mostGuestBytes: MOST_GUEST_BYTES,
      openTarget: () => Promise.reject(reason),
    });
    await unpacking.see(readFileSync(path));
    expect(unpacking.unfinished).toBe(reason);
    await unpacking.end();
  });

  it('writes nothing any more once it was ended', async () => {
    write('1M', '', ['write -P 1 0 64k']);
    const bytes = readFileSync(path);
    rmSync(target, { force: true });
    const openTarget = async () => createFileWriter(await open(target, 'wx'));
    const unpacking = createQcow2Unpacking({ sizeBytes: bytes.length, mostGuestBytes: MOST_GUEST_BYTES, openTarget });
    await unpacking.see(bytes.subarray(0, 50));
    await unpacking.end();
    await unpacking.see(bytes.subarray(50));
    expect(existsSync(target)).toBe(false);
  });
});

/** Elsewhere there is nothing to make frames with. */
if (hasZstd)
  describe('data compressed by zstd', () => {
    const frames: [string, Buffer][] = [
      ['is no such data', Buffer.alloc(CLUSTER, 0xff)],
      ['is less than a cluster', zstd(Buffer.alloc(CLUSTER - 1, 'short'))],
      ['is more than a cluster', zstd(Buffer.alloc(CLUSTER * 1000))],
      ['ends too early', zstd(randomBytes(CLUSTER)).subarray(0, 60 * KiB)],
      ['lacks the end of its checksum', zstd(randomBytes(CLUSTER), { checksum: true }).subarray(0, -1)],
      ['has another checksum', flipLastBit(zstd(randomBytes(CLUSTER), { checksum: true }))],
      ['wants a window of 128 MiB', withWindow(zstd(Buffer.alloc(CLUSTER, 'wide')), 27)],
      ['is a cluster in two frames', Buffer.concat([zstd(randomBytes(CLUSTER / 2)), zstd(randomBytes(CLUSTER / 2))])], // prettier-ignore
    ];
    it.each(frames)('is left to a conversion when it %s', async (_what, data) => {
      writeFileSync(path, zstdImage(data));
      expect(await unpack()).toHaveProperty('unfinished');
    });

    it.each([false, true])(
      'is a frame that may end before its last sector does, with a checksum: %s',
      async (checksum) => {
        const data = zstd(Buffer.from(randomBytes(CLUSTER / 2).toString('hex')), { checksum });
        for (const behind of [Buffer.alloc(0), Buffer.alloc(700), randomBytes(700), data.subarray(0, 100), data]) {
          writeFileSync(path, zstdImage(Buffer.concat([data, behind])));
          expect(await isUnpacked()).toBe(true);
        }
      },
    );
  });

/** An L2 entry of an image with clusters of 64 KiB. */
function compressedEntry(offset: number, lengthBytes: number): bigint {
  const sectors = Math.ceil(((offset % 512) + lengthBytes) / 512);
  return (1n << 62n) | (BigInt(sectors - 1) << 54n) | BigInt(offset);
}

function deflate(bytes: Buffer, windowBits = 12): Buffer {
  return zlib.deflateRawSync(bytes, { windowBits });
}

/** A frame as QEMU writes it. Newer Nodes alone have this function. */
function zstd(bytes: Buffer, { checksum = false } = {}): Buffer {
  const { zstdCompressSync, constants } = zlib as unknown as {
    zstdCompressSync: (this: void, bytes: Buffer, options: object) => Buffer;
    constants: Record<string, number>;
  };
  const params = { [constants['ZSTD_c_checksumFlag'] ?? 0]: checksum ? 1 : 0 };
  return zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length });
}

/** An image whose first cluster is `data`. */
function zstdImage(data: Buffer): Buffer {
  const image = qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[compressedEntry(6 * CLUSTER, data.length)]] });
  return Buffer.concat([patched(image, [[72, 'u64be', 8n], [104, 'u8', 1]]), data]); // prettier-ignore
}

/** The same frame with a window descriptor in place of the size that takes its place. Source: RFC 8878, section 3.1.1.1. */
function withWindow(frame: Buffer, bits: number): Buffer {
  const [descriptor = 0] = frame.subarray(4);
  const withoutSize = descriptor & 0b0000_0111;
  const sizeBytes = [1, 2, 4, 8][descriptor >> 6] ?? 0;
  const head = Buffer.concat([frame.subarray(0, 4), Buffer.from([withoutSize, (bits - 10) << 3])]);
  return Buffer.concat([head, frame.subarray(5 + sizeBytes)]);
}

function flipLastBit(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  return flipped;
}

/** Text, which becomes little, noise, which becomes none, and zeros between them. */
function compress(...options: string[]): void {
  const raw = join(directory, 'compressible.raw');
  const text = Buffer.from(Array.from({ length: 200_000 }, (_none, at) => `${at * at} words `).join(''));
  writeFileSync(raw, Buffer.concat([text, Buffer.alloc(MiB), randomBytes(700 * KiB + 512), text]));
  qemu('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', ...options, raw, path);
}

describe('a qcow2 that somebody has damaged', () => {
  const seeds = (): { format: string; image: Buffer }[] => {
    write('24M', '', ['write -P 3 0 200k', 'write -P 4 20M 192k', 'write -P 5 10M 64k']);
    const plain = readFileSync(path);
    compress();
    return [plain, readFileSync(path)].map((image) => ({ format: 'qcow2', image }));
  };

  /** Damages up to four places of `image` in so many ways. @returns how often it was unpacked all the same, each time as qemu-img converts it. */
  const unpackDamaged = async (
    image: Buffer,
    { damage, numRuns }: { damage: fc.Arbitrary<{ at: number; value: bigint }>; numRuns: number },
  ): Promise<number> => {
    let unpacked = 0;
    const property = fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (damages) => {
      writeFileSync(
        path,
        patched(
          image,
          damages.map(({ at, value }) => [at, 'u64be', value]),
        ),
      );
      if ('unfinished' in (await unpack()) || !convert()) return;
      unpacked += 1;
      expect(isSame(target, converted)).toBe(true);
    });
    await fc.assert(property, { numRuns, seed: 1 });
    return unpacked;
  };
  const l2Table = 4 * CLUSTER;
  const cluster = fc.nat(20).map((index) => BigInt(index * CLUSTER));
  const entriesFrom = (...tables: number[]) =>
    fc.constantFrom(...tables).chain((table) => fc.nat(8).map((index) => table + index * 8));

  it('is unpacked as qemu-img converts it, or left to a conversion', async () => {
    const [seed] = seeds();
    const flags = fc.constantFrom(0n, 1n, 2n, 1n << 63n, 1n << 62n, 1n << 56n, 512n);
    const damage = fc.record({
      at: entriesFrom(3 * CLUSTER, l2Table, l2Table + 160 * 8, l2Table + 320 * 8),
      value: fc.tuple(cluster, flags).map(([offset, flag]) => offset | flag),
    });
    expect(await unpackDamaged(seed?.image ?? Buffer.alloc(0), { damage, numRuns: 150 })).toBeGreaterThan(15);
  });

  it.each(compressionTypes)(
    'with clusters compressed by %s is unpacked as qemu-img converts it, or left to a conversion',
    async (type) => {
      compress('-o', `compression_type=${type}`);
      const image = readFileSync(path);
      const entry = fc.record({
        at: entriesFrom(l2Table, l2Table + 20 * 8),
        value: fc.tuple(fc.nat(image.length), fc.nat(2 * CLUSTER)).map(([at, length]) => compressedEntry(at, length)),
      });
      const other = fc.nat(40).map((index) => image.readBigUInt64BE(l2Table + index * 8));
      const swapped = fc.record({ at: entriesFrom(l2Table, l2Table + 20 * 8), value: fc.oneof(other, cluster) });
      const data = fc.record({ at: fc.nat({ max: image.length - 6 * CLUSTER }), value: fc.bigInt(0n, 2n ** 64n - 1n) });
      const inData = data.map(({ at, value }) => ({ at: at + 5 * CLUSTER, value }));
      const damage = fc.oneof({ arbitrary: swapped, weight: 6 }, entry, inData);
      expect(await unpackDamaged(image, { damage, numRuns: 50 })).toBeGreaterThan(15);
    },
  );

  it('never makes the layout throw, take a byte twice or point outside of the guest', () => {
    const mutants = mutantsOf(seeds(), ({ image }) => image);
    const property = fc.property(mutants, fc.integer({ min: 10_000, max: MiB }), ({ image }, pieceBytes) => {
      const layout = createQcow2Layout({ sizeBytes: image.length });
      const isOfGuest = (offset: number, bytes: number) => bytes > 0 && offset + bytes <= (layout.virtualBytes ?? 0);
      for (let at = 0, step = 0; at < image.length; at += step) {
        const given = image.subarray(at, at + pieceBytes);
        let taken = 0;
        const { pieces, compressed, taken: takenBytes } = layout.take(given);
        const bytes = given.subarray(0, (step = takenBytes));
        if (step === 0) return false;
        for (const { start, end, guestOffset } of pieces) {
          if (start < taken || end > bytes.length || !isOfGuest(guestOffset, end - start)) return false;
          taken = end;
        }
        for (const piece of compressed)
          if (piece.bytes.length > 2 * CLUSTER || !isOfGuest(piece.guestOffset, 1)) return false;
      }
      const brought = layout.finish() ?? [];
      return brought.every(
        ({ fileOffset, lengthBytes, guestOffset, isCompressed }) =>
          fileOffset + lengthBytes <= image.length && isOfGuest(guestOffset, isCompressed ? 1 : lengthBytes),
      );
    });
    expect(fc.check(property, { numRuns: 400, seed: 2 })).toMatchObject({ failed: false });
  });
});
