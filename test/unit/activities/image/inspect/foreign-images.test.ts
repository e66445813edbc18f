import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ImageFormat } from '../../../../../activities/image/policy';
import { KiB, MiB } from '../../../../../workflows/contract/bytes';
import {
  isoImage,
  inspectBytes,
  mbrDisk,
  patched,
  vhdImage,
  withVhdChecksums,
} from '../../../../support/images/image-fixtures';

const directory = mkdtempSync(join(tmpdir(), 'foreign-'));
const [path, source, converted] = ['image', 'source.raw', 'converted.raw'].map((name) => join(directory, name)) as [
  string,
  string,
  string,
];
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const QEMU_TIMEOUT_MS = 20_000;
const DISK_BYTES = 9 * MiB;

/** A disk with a partition table, text that compresses, noise that does not, and zeros. */
beforeAll(() => {
  const disk = mbrDisk(DISK_BYTES);
  disk.write('what compresses well '.repeat(20_000), MiB);
  for (let at = 3 * MiB, noise = 1; at < 3 * MiB + 300 * KiB; at++)
    disk[at] = (noise = (noise * 1_103_515_245 + 12_345) % 2 ** 31) >>> 16;
  disk.write('the last sectors', DISK_BYTES - 512);
  writeFileSync(source, disk);
});

function qemu(tool: 'qemu-img' | 'qemu-io', ...args: string[]): void {
  execFileSync(tool, args, { timeout: QEMU_TIMEOUT_MS, stdio: ['ignore', 'ignore', 'pipe'] });
}

function exitOf(...args: string[]): number | null {
  const { status, signal } = spawnSync('qemu-img', args, { timeout: QEMU_TIMEOUT_MS, stdio: 'ignore' });
  expect(signal).toBeNull();
  return status;
}

interface Foreign {
  name: string;
  format: ImageFormat;
  /** Whether the guest's disk is the source, byte for byte. */
  isSource?: boolean;
  build: () => Buffer;
}

const qemuNames: Partial<Record<ImageFormat, string>> = { vhd: 'vpc', iso: 'raw' };
const qemuName = (format: ImageFormat): string => qemuNames[format] ?? format;

interface Making {
  options?: string[];
  after?: () => void;
}

function made(format: ImageFormat, name: string, { options = [], after }: Making = {}): Foreign {
  const build = (): Buffer => {
    rmSync(path, { force: true });
    qemu('qemu-img', 'convert', '-f', 'raw', '-O', qemuName(format), ...options, source, path);
    after?.();
    return readFileSync(path);
  };
  return { name: `${format}: ${name}`, format, isSource: after === undefined, build };
}

/** A VMDK that another program has described. */
function described(name: string, change: (descriptor: string) => string): Foreign {
  const plain = made('vmdk', name);
  const build = (): Buffer => {
    const image = plain.build();
    const lengthBytes = Number(image.readBigUInt64LE(36)) * 512;
    const text = image.toString('latin1', 512, 512 + lengthBytes).replace(/\0+$/, '');
    const area = Buffer.alloc(lengthBytes);
    area.write(change(text), 'latin1');
    return patched(image, [[512, 'bytes', area]]);
  };
  return { ...plain, build };
}

/** A VHD whose footers say who wrote it and a geometry that has room for less. */
function created(creator: string, subformat: string): Foreign {
  const plain = made('vhd', `${JSON.stringify(creator)}, ${subformat}`, {
    options: ['-o', `subformat=${subformat},force_size=on`],
  });
  const build = (): Buffer => {
    const image = plain.build();
    const footers = subformat === 'fixed' ? [image.length - 512] : [0, image.length - 512];
    for (const at of footers) {
      image.write(creator, at + 28, 'latin1');
      image.writeUInt32BE((0x10 << 16) | (4 << 8) | 17, at + 56);
    }
    return withVhdChecksums(image);
  };
  return { ...plain, build };
}

const snapshot = (): void => qemu('qemu-img', 'snapshot', '-c', 'before', path);
const written = (): void =>
  qemu('qemu-io', '-f', 'qcow2', '-c', 'write -P 9 2M 100k', '-c', 'discard 3M 64k', '-c', 'write -z 1M 64k', path);

const foreign: Foreign[] = [
  made('qcow2', 'version 2', { options: ['-o', 'compat=0.10'] }),
  made('qcow2', 'version 3'),
  ...['512', '4k', '2M'].map((size) =>
    made('qcow2', `clusters of ${size}`, { options: ['-o', `cluster_size=${size}`] }),
  ),
  made('qcow2', 'zlib', { options: ['-c'] }),
  made('qcow2', 'zlib in version 2', { options: ['-c', '-o', 'compat=0.10'] }),
  made('qcow2', 'zlib in clusters of 4 KiB', { options: ['-c', '-o', 'cluster_size=4k'] }),
  made('qcow2', 'zstd', { options: ['-c', '-o', 'compression_type=zstd'] }),
  made('qcow2', 'extended L2 entries', { options: ['-o', 'extended_l2=on'] }),
  made('qcow2', 'refcounts of one bit', { options: ['-o', 'refcount_bits=1'] }),
  made('qcow2', 'all clusters allocated', { options: ['-S', '0'] }),
  made('qcow2', 'a snapshot, and written to since', {
    after: () => {
      snapshot();
      written();
    },
  }),
  made('qcow2', 'compressed, then written to', { options: ['-c'], after: written }),
  made('qcow2', 'grown', { after: () => qemu('qemu-img', 'resize', '-q', '-f', 'qcow2', path, '1G') }),
  made('qcow2', 'shrunk', { after: () => qemu('qemu-img', 'resize', '-q', '--shrink', '-f', 'qcow2', path, '4M') }),
  made('vmdk', 'monolithicSparse'),
  made('vmdk', 'zeroed grains', { options: ['-o', 'zeroed_grain=on'] }),
  made('vmdk', 'streamOptimized', { options: ['-o', 'subformat=streamOptimized'] }),
  described('in lines of Windows', (text) => text.replaceAll('\n', '\r\n')),
  described('with a name in UTF-8', (text) =>
    text.replace(/"[^"]*"\n\n# The Disk/, '"\xc3\x9cbung.vmdk"\n\n# The Disk'),
  ),
  described('with a comment in GBK', (text) => `${text}encoding="GBK"\n# \xb4\xc5\x95\x5c\n`),
  described('with a key twice', (text) => `${text}ddb.toolsVersion = "1"\nddb.toolsVersion = "2"\n`),
  made('vhd', 'dynamic by QEMU', { options: ['-o', 'subformat=dynamic'], after: () => undefined }),
  ...['vbox', 'wa\0\0', 'win ', 'd2v ', 'vs  ', 'vmmt', 'kiwi'].map((creator) => created(creator, 'fixed')),
  ...['vbox', 'win '].map((creator) => created(creator, 'dynamic')),
  made('vhdx', 'dynamic'),
  made('vhdx', 'fixed', { options: ['-o', 'subformat=fixed'] }),
  made('vhdx', 'blocks of 1 MiB', { options: ['-o', 'block_size=1M'] }),
  made('vdi', 'dynamic'),
  made('vdi', 'static', { options: ['-o', 'static=on'] }),
  { name: 'raw', format: 'raw', isSource: true, build: () => readFileSync(source) },
  { name: 'an ISO', format: 'iso', build: () => isoImage() },
];

/** How qemu-img opens the image; of a VHD by the size in its footer, but for those of Virtual PC and QEMU. */
function openedBy(format: ImageFormat, image: Buffer): { check: string[]; convert: string[] } {
  const creator = image.toString('latin1', image.length - 484, image.length - 480);
  const byFooter = `driver=vpc,force_size_calc=current_size,file.driver=file,file.filename=${path}`;
  const named = ['-f', qemuName(format), path];
  return { check: named, convert: format === 'vhd' && creator !== 'qemu' ? ['--image-opts', byFooter] : named };
}

/** @returns what qemu-img makes of the image: whether it is sound, and the size of what it converts. A format without checks is sound. */
function askQemu(image: Buffer, format: ImageFormat): { isSound: boolean; sizeBytes: number | undefined } {
  writeFileSync(path, image);
  rmSync(converted, { force: true });
  const { check, convert } = openedBy(format, image);
  const isSound = [0, 3, 63].includes(exitOf('check', ...check) ?? -1);
  const isConverted = exitOf('convert', '-O', 'raw', ...convert, converted) === 0;
  return { isSound, sizeBytes: isConverted ? statSync(converted).size : undefined };
}

describe('An image of others', () => {
  it.each(foreign)('is accepted as qemu-img sees it: $name', async ({ format, isSource, build }) => {
    const image = build();
    const { isSound, sizeBytes } = askQemu(image, format);
    expect(await inspectBytes(image, format)).toMatchObject({ kind: 'accepted', format, virtualSizeBytes: sizeBytes });
    expect(isSound).toBe(true);
    const isSame = readFileSync(converted).subarray(0, DISK_BYTES).equals(readFileSync(source));
    expect(isSame || isSource !== true).toBe(true);
  });

  it.each(foreign)('that was cut is not accepted where qemu-img finds it broken: $name', async ({ format, build }) => {
    const image = build();
    const half = image.length / 2;
    const kept = [
      half,
      half + 1,
      image.length - 3 * 65_536,
      image.length - 65_536,
      image.length - 512,
      image.length - 1,
    ];
    for (const bytes of kept.filter((count) => count > 0).map(Math.floor)) {
      const cut = image.subarray(0, bytes);
      const verdict = await inspectBytes(cut, format);
      if (verdict.kind === 'refused') continue;
      const { isSound, sizeBytes } = askQemu(cut, format);
      expect([bytes, isSound]).toEqual([bytes, true]);
      // Compressed data that lost bytes of its last sector only is found when it is converted.
      const isInLastSector = sizeBytes === undefined && image.length - bytes < 512;
      expect([bytes, isInLastSector || sizeBytes === verdict.virtualSizeBytes]).toEqual([bytes, true]);
    }
  });

  it('with a fixed size has every sector, where older readers believe the geometry', async () => {
    const disk = readFileSync(source);
    const footer = vhdImage({ type: 'fixed', creator: 'vbox', virtualBytes: DISK_BYTES }).subarray(-512);
    const image = Buffer.concat([disk, footer]);
    expect(await inspectBytes(image, 'vhd')).toMatchObject({ kind: 'accepted', virtualSizeBytes: DISK_BYTES });
    expect(askQemu(image, 'vhd')).toMatchObject({ sizeBytes: DISK_BYTES });
    expect(readFileSync(converted).equals(disk)).toBe(true);
    expect(readFileSync(converted).toString('latin1', DISK_BYTES - 512, DISK_BYTES - 496)).toBe('the last sectors');
  });
});
