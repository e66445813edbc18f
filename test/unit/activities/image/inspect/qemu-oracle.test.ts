import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { MiB, TiB } from '../../../../../workflows/contract/bytes';
import { inspectBytes, mutantsOf, repairChecksums, wellFormedImages } from '../../../../support/images/image-fixtures';

const directory = mkdtempSync(join(tmpdir(), 'inspect-'));
const path = join(directory, 'image');
const source = join(directory, 'source');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const QEMU_TIMEOUT_MS = 20_000;
const qemuNames: Record<string, string> = { vhd: 'vpc', iso: 'raw' };
const qemuName = (format: string): string => qemuNames[format] ?? format;

function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { timeout: QEMU_TIMEOUT_MS, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A VHD of anybody but Virtual PC and QEMU, whose size is the footer's; today's QEMU knows that by itself. */
const sized = `driver=vpc,force_size_calc=current_size,file.driver=file,file.filename=${path}`;
function isSizedVhd(image: Buffer, format: string): boolean {
  return format === 'vhd' && !['vpc ', 'qemu'].includes(image.toString('latin1', image.length - 484, image.length - 480)); // prettier-ignore
}

/** @returns what `qemu-img info` says of the image, or undefined where it refuses. A crash or a hang fails the test. */
function findQemuSize(image: Buffer, format: string): number | undefined {
  writeFileSync(path, image);
  const args = ['info', '--output=json', ...(isSizedVhd(image, format) ? ['--image-opts', sized] : [path, '-f', qemuName(format)])]; // prettier-ignore
  const { status, signal, stdout } = spawnSync('qemu-img', args, { timeout: QEMU_TIMEOUT_MS, encoding: 'utf8' });
  expect(signal).toBeNull();
  expect([0, 1]).toContain(status);
  return status === 0 ? Number(/"virtual-size": (\d+)/.exec(stdout)?.[1]) : undefined;
}

/** Made by qemu-img, empty and converted from a disk with data. */
const options: [format: string, options: string][] = [
  ['qcow2', 'compat=0.10'],
  ...[512, 4096, 65_536, 2 * MiB].map((size): [string, string] => ['qcow2', `compat=1.1,cluster_size=${size}`]),
  ['qcow2', 'compat=0.10,cluster_size=1M'],
  ['qcow2', 'extended_l2=on'],
  ['qcow2', 'extended_l2=on,cluster_size=16k'],
  ['qcow2', 'compression_type=zstd'],
  ['qcow2', 'lazy_refcounts=on'],
  ['qcow2', 'refcount_bits=1'],
  ['qcow2', 'refcount_bits=64'],
  ['qcow2', 'preallocation=metadata'],
  ['qcow2', 'preallocation=metadata,cluster_size=4k'],
  ['qcow2', 'preallocation=falloc,extended_l2=on'],
  ['qcow2', 'preallocation=full'],
  ['vmdk', 'subformat=monolithicSparse'],
  ['vmdk', 'subformat=monolithicSparse,zeroed_grain=on'],
  ['vmdk', 'subformat=monolithicSparse,adapter_type=lsilogic,hwversion=10'],
  ['vmdk', 'subformat=streamOptimized'],
  ['vhd', 'subformat=dynamic'],
  ['vhd', 'subformat=fixed'],
  ['vhd', 'subformat=dynamic,force_size=on'],
  ['vhd', 'subformat=fixed,force_size=on'],
  ['vhdx', 'subformat=dynamic'],
  ['vhdx', 'subformat=fixed'],
  ['vhdx', 'subformat=dynamic,block_size=1M,log_size=4M'],
  ['vdi', 'static=off'],
  ['vdi', 'static=on'],
  ['raw', 'preallocation=off'],
];

beforeAll(() => {
  qemuImg('create', '-q', '-f', 'raw', source, '40M');
  execFileSync(
    'qemu-io',
    ['-f', 'raw', '-c', 'write -P 3 0 1M', '-c', 'write -P 4 20M 192k', '-c', 'write -P 5 39M 1M', source],
    { stdio: 'ignore' },
  );
});

describe('An image made by qemu-img', () => {
  it.each(options)('as %s with %s is accepted with the size that qemu-img sees', async (format, option) => {
    const { preallocation, ...conversion } = Object.fromEntries(option.split(',').map((pair) => pair.split('=')));
    const converted = Object.entries(conversion).map((pair) => pair.join('=')).join(','); // prettier-ignore
    const makers = [
      ['create', '-q', '-f', qemuName(format), '-o', option, path, '40M'],
      ['convert', '-f', 'raw', '-O', qemuName(format), ...(converted === '' ? [] : ['-o', converted]), source, path],
      ...(format === 'qcow2'
        ? [['convert', '-c', '-f', 'raw', '-O', 'qcow2', ...(converted === '' ? [] : ['-o', converted]), source, path]]
        : []),
    ];
    for (const args of makers) {
      rmSync(path, { force: true });
      qemuImg(...args);
      const image = readFileSync(path);
      const virtualSizeBytes = findQemuSize(image, format);
      // The least allowance makes the parsers read every table.
      for (const policy of [{}, { expansionAllowanceBytes: 4 * MiB, maxExpansion: 1 }]) {
        expect(await inspectBytes(image, format, policy)).toMatchObject({ kind: 'accepted', format, virtualSizeBytes });
      }
    }
    expect(preallocation ?? '').toMatch(/^\w*$/);
  });

  it('with internal snapshots is accepted while none has VM state', async () => {
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', source, path);
    for (const name of ['one', 'two']) qemuImg('snapshot', '-c', name, path);
    expect(await inspectBytes(readFileSync(path), 'qcow2')).toMatchObject({
      kind: 'accepted',
      details: { snapshots: 2 },
    });
  });

  it('with bitmaps is accepted', async () => {
    qemuImg('create', '-q', '-f', 'qcow2', path, '40M');
    qemuImg('bitmap', '--add', path, 'b0');
    expect(await inspectBytes(readFileSync(path), 'qcow2')).toMatchObject({ kind: 'accepted' });
  });

  it('of 2 TiB, sparse, is accepted', async () => {
    qemuImg('create', '-q', '-f', 'qcow2', path, String(2 * TiB));
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 3 0 1M', '-c', 'write -P 4 1T 1M', path], {
      stdio: 'ignore',
    });
    expect(await inspectBytes(readFileSync(path), 'qcow2')).toMatchObject({
      kind: 'accepted',
      virtualSizeBytes: 2 * TiB,
    });
  });

  it.each([
    ['a backing file', 'qcow2', 'qcow2-backing-file', ['-b', 'source', '-F', 'raw']],
    ['an external data file', 'qcow2', 'qcow2-external-data-file', ['-o', 'data_file=data']],
    ['a raw external data file', 'qcow2', 'qcow2-external-data-file', ['-o', 'data_file=data,data_file_raw=on']],
    [
      'AES inside',
      'qcow2',
      'encrypted',
      ['--object', 'secret,id=s,data=abcd', '-o', 'encrypt.format=aes,encrypt.key-secret=s'],
    ],
    ['a flat extent', 'vmdk', 'vmdk-subformat', ['-o', 'subformat=monolithicFlat']],
    ['split extents', 'vmdk', 'vmdk-subformat', ['-o', 'subformat=twoGbMaxExtentSparse']],
    ['a parent', 'vmdk', 'vmdk-parent', ['-o', 'backing_file=parent.vmdk,backing_fmt=vmdk']],
  ])('with %s (%s) is refused by %s', async (...[, format, rule, args]) => {
    if (rule === 'vmdk-parent')
      execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', 'parent.vmdk', '40M'], { cwd: directory });
    rmSync(path, { force: true });
    execFileSync('qemu-img', ['create', '-q', '-f', format, ...args, path, '40M'], { cwd: directory, stdio: 'ignore' });
    expect(await inspectBytes(readFileSync(path), format)).toMatchObject({ kind: 'refused', rule });
  });

  it.each([
    ['qcow', 'format-banned'],
    ['qed', 'format-banned'],
    ['parallels', 'format-banned'],
  ])('as %s is refused whatever is declared', async (format, rule) => {
    qemuImg('create', '-q', '-f', format, path, '40M');
    for (const declared of ['raw', 'qcow2'])
      expect(await inspectBytes(readFileSync(path), declared)).toMatchObject({ rule });
  });
});

describe('The test’s own images', () => {
  it.each(wellFormedImages)('of $name open in qemu-img with the size that was judged', async ({ format, build }) => {
    const image = build();
    expect(await inspectBytes(image, format)).toMatchObject({ virtualSizeBytes: findQemuSize(image, format) });
  });
});

describe('A mutated image that is accepted', () => {
  const seeds = wellFormedImages
    .filter(({ format }) => format !== 'raw' && format !== 'iso')
    .map(({ format, build }) => ({ format, image: build() }));

  it('neither crashes nor hangs qemu-img, which sees the same size', async () => {
    let opened = 0;
    const property = fc.asyncProperty(mutantsOf(seeds, repairChecksums), async ({ format, image }) => {
      const verdict = await inspectBytes(image, format);
      fc.pre(verdict.kind === 'accepted');
      const qemuSize = findQemuSize(image, format);
      opened++;
      expect(verdict).toMatchObject({ virtualSizeBytes: qemuSize });
    });
    await fc.assert(property, { numRuns: 60, maxSkipsPerRun: 1000 });
    expect(opened).toBeGreaterThan(0);
  }, 180_000);
});
