import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { KiB, MiB } from '../../../../../workflows/contract/bytes';
import { inspectBytes, patched, qcow2Image, vmdkImage } from '../../../../support/images/image-fixtures';

const directory = mkdtempSync(join(tmpdir(), 'truncated-'));
const path = join(directory, 'image');
const source = join(directory, 'source');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const QEMU_TIMEOUT_MS = 20_000;
const CLUSTER = 64 * KiB;
const L1 = 3 * CLUSTER;

beforeAll(() => {
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', source, '10M']);
  const commands = ['write -P 3 0 1M', 'write -P 4 5M 192k', 'write -P 5 9M 10k'];
  execFileSync('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), source], {
    stdio: 'ignore',
  });
});

/** @returns whether `qemu-img check` finds the image sound; clusters that nothing names are no fault. */
function isSound(image: Buffer, format: string): boolean {
  writeFileSync(path, image);
  const { status } = spawnSync('qemu-img', ['check', '-f', format, path], {
    timeout: QEMU_TIMEOUT_MS,
    stdio: 'ignore',
  });
  return status === 0 || status === 3;
}

const made: [format: string, options: string[]][] = [
  ['qcow2', []],
  ['qcow2', ['-o', 'compat=0.10']],
  ['qcow2', ['-o', 'cluster_size=512']],
  ['qcow2', ['-o', 'cluster_size=2M']],
  ['qcow2', ['-o', 'extended_l2=on']],
  ['qcow2', ['-c']],
  ['qcow2', ['-c', '-o', 'compression_type=zstd']],
  ['vmdk', []],
  ['vmdk', ['-o', 'subformat=streamOptimized']],
];
const lost = [0, 1, 511, 512, 4096, 56 * KiB, 64 * KiB - 1, 64 * KiB, 64 * KiB + 1, 100_000, 200_000, 700_000, MiB];

describe('A file that ends before its data', () => {
  it.each(made)('is judged as qemu-img check judges it: %s %j', async (format, options) => {
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, source, path]);
    const whole = readFileSync(path);
    expect(await inspectBytes(whole, format)).toMatchObject({ kind: 'accepted' });
    for (const bytes of lost.filter((count) => count < whole.length)) {
      const image = whole.subarray(0, whole.length - bytes);
      // Of compressed data it tells only the loss of a whole cluster; a few bytes may be the padding behind the data.
      const isCompressed = options.includes('-c');
      if (isCompressed && bytes === 511) continue;
      const isCut = isCompressed && bytes >= 512;
      const expected = !isCut && isSound(image, format) ? 'accepted' : 'refused';
      expect([bytes, (await inspectBytes(image, format)).kind]).toEqual([bytes, expected]);
    }
  });

  it.each([
    ['qcow2', []],
    ['vmdk', []],
  ])('is refused by file-truncated where nothing but data is lost: %s %j', async (format, options) => {
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, source, path]);
    const image = readFileSync(path);
    const cut = image.subarray(0, Math.floor(image.length / CLUSTER - 1) * CLUSTER);
    expect(await inspectBytes(cut, format)).toMatchObject({ kind: 'refused', rule: 'file-truncated' });
  });
});

describe('The tables of an image', () => {
  const compressed = (offset: number, sectors: number): bigint =>
    (1n << 62n) | (BigInt(sectors - 1) << 54n) | BigInt(offset);
  const judgeL2 = async (...entries: bigint[]) =>
    await inspectBytes(qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [entries] }), 'qcow2');
  const end = qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[]] }).length;

  it('of a qcow2 name no cluster beyond its end, compressed or not, read or zeroed', async () => {
    const beyond = [BigInt(end), BigInt(end) | 1n, (1n << 63n) | (1n << 50n), compressed(end - 512, 2)];
    for (const entry of beyond) {
      const rule = 'file-truncated';
      expect(await judgeL2(entry)).toMatchObject({ kind: 'refused', rule, offset: end - CLUSTER });
      expect(await judgeL2(0n, 0n, entry)).toMatchObject({ rule, offset: end - CLUSTER + 16 });
    }
    expect(await judgeL2(BigInt(end - CLUSTER), compressed(end - 512, 1), compressed(end - 1000, 2))).toMatchObject({
      kind: 'accepted',
    });
  });

  it('of a qcow2 name compressed data that makes a cluster, though its last sector may end with it', async () => {
    const data = deflateRawSync(Buffer.alloc(CLUSTER, 'neither short nor long, '), { windowBits: 12, level: 1 });
    const sectors = Math.ceil(data.length / 512);
    const image = qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[compressed(end, sectors)]] });
    const inspectData = async (bytes: Buffer) => await inspectBytes(Buffer.concat([image, bytes]), 'qcow2');
    expect(data.length % 512).toBeGreaterThan(20);
    expect(await inspectData(data)).toMatchObject({ kind: 'accepted' });
    expect(await inspectData(Buffer.concat([data, Buffer.alloc(512)]))).toMatchObject({ kind: 'accepted' });
    for (const missing of [10, 20, 600])
      expect(await inspectData(data.subarray(0, data.length - missing))).toMatchObject({ rule: 'file-truncated' });
  });

  it('of a qcow2 name clusters and nothing else', async () => {
    for (const entry of [BigInt(CLUSTER + 512), BigInt(CLUSTER) | 2n, BigInt(CLUSTER) | (1n << 56n)])
      expect(await judgeL2(entry)).toMatchObject({ rule: 'qcow2-l2-entry', offset: end - CLUSTER });
    const zeroed = qcow2Image({ version: 2, virtualBytes: 32 * MiB, l2Tables: [[1n]] });
    expect(await inspectBytes(zeroed, 'qcow2')).toMatchObject({ rule: 'qcow2-l2-entry' });
  });

  it('of a qcow2 may end with the file where the rest would be zeros', async () => {
    const image = qcow2Image({ virtualBytes: 32 * MiB, l2Tables: [[BigInt(CLUSTER)]] });
    for (const bytes of [8, 512, CLUSTER - 1])
      expect(await inspectBytes(image.subarray(0, end - CLUSTER + bytes), 'qcow2')).toMatchObject({ kind: 'accepted' });
    expect(await inspectBytes(image.subarray(0, end - CLUSTER), 'qcow2')).toMatchObject({ rule: 'qcow2-l1-entry' });
    expect(await inspectBytes(qcow2Image({ virtualBytes: MiB }).subarray(0, L1 + 4), 'qcow2')).toMatchObject({
      kind: 'accepted',
    });
  });

  it('of a qcow2 name refcount blocks within the file', async () => {
    const image = qcow2Image({ virtualBytes: MiB });
    expect(await inspectBytes(patched(image, [[CLUSTER + 8, 'u64be', 2 ** 40]]), 'qcow2')).toMatchObject({
      rule: 'file-truncated',
      offset: CLUSTER + 8,
    });
  });

  it('of a VMDK name grains that begin within the file', async () => {
    const image = vmdkImage();
    const directoryAt = 21 * 512;
    const table = image.readUInt32LE(directoryAt) * 512;
    const grain = (sector: number) => patched(image, [[table + 4, 'u32le', sector]]);
    expect(await inspectBytes(grain(image.length / 512 - 1), 'vmdk')).toMatchObject({ kind: 'accepted' });
    expect(await inspectBytes(grain(image.length / 512), 'vmdk')).toMatchObject({
      rule: 'file-truncated',
      offset: table + 4,
    });
  });
});
