import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { compareImages } from '../support/images/qemu';
import { makeSampleImage, uploadSample } from '../support/images/sample-image';
import { isoImage } from '../support/images/disk';
import { vhdImage } from '../support/images/vhd';
import { useStack } from '../support/stack/flows';

const run = promisify(execFile);

const flow = useStack();

/** Glance's name, qemu-img's options. */
const formats: Array<[string, string, string[]]> = [
  ['qcow2', 'qcow2 v2', ['-O', 'qcow2', '-o', 'compat=0.10']],
  ['qcow2', 'compressed qcow2', ['-c', '-O', 'qcow2']],
  ['qcow2', 'qcow2 compressed by zstd', ['-c', '-O', 'qcow2', '-o', 'compression_type=zstd']],
  ['qcow2', 'qcow2 with extended L2', ['-O', 'qcow2', '-o', 'extended_l2=on,cluster_size=128k']],
  ['vmdk', 'monolithicSparse vmdk', ['-O', 'vmdk', '-o', 'subformat=monolithicSparse']],
  ['vmdk', 'streamOptimized vmdk', ['-O', 'vmdk', '-o', 'subformat=streamOptimized']],
  ['vhd', 'dynamic vhd', ['-O', 'vpc', '-o', 'subformat=dynamic,force_size=on']],
  ['vhd', 'fixed vhd', ['-O', 'vpc', '-o', 'subformat=fixed,force_size=on']],
  ['vhdx', 'vhdx', ['-O', 'vhdx']],
  ['vdi', 'vdi', ['-O', 'vdi']],
];

it.each(formats)('makes a volume with the guest’s bytes of a %s image: %s', async (diskFormat, name, options) => {
  const sample = await makeSampleImage({
    directory: flow.directory,
    name: name.replaceAll(' ', '-'),
    diskFormat: 'raw',
  });
  const path = `${sample.rawPath}.image`;
  await run('qemu-img', ['convert', '-f', 'raw', ...options, sample.rawPath, path]);
  const image = await uploadSample(flow.stack.images, { ...sample, path }, { diskFormat });
  const volume = await flow.create(image);
  expect(volume.outcome).toBe('miss');
  await flow.expectGuestBytes(sample, volume);
});

it.each([
  ['gzip', 'gz', 'qcow2'],
  ['xz', 'xz', 'raw'],
  ['zstd', 'zst', 'raw'],
] as const)(
  'makes a volume of an image that %s compressed, cached and straight',
  async (tool, extension, diskFormat) => {
    const sample = await makeSampleImage({ directory: flow.directory, name: `compressed-${tool}`, diskFormat });
    await run(tool, ['-kq', sample.path]);
    const compressed = { ...sample, path: `${sample.path}.${extension}` };
    const image = await uploadSample(flow.stack.images, compressed, { containerFormat: 'compressed' });
    for (const bypassCache of [false, true]) {
      const volume = await flow.create(image, { bypassCache });
      expect(volume).toMatchObject({ outcome: bypassCache ? 'bypassed' : 'miss', sizeBytes: sample.virtualBytes });
      await flow.expectGuestBytes(sample, volume);
    }
  },
);

it('refuses a compressed image whose disk is not what it is declared', async () => {
  const sample = await makeSampleImage({ directory: flow.directory, name: 'compressed-liar', diskFormat: 'qcow2' });
  await run('gzip', ['-kq', sample.path]);
  const image = await uploadSample(
    flow.stack.images,
    { ...sample, path: `${sample.path}.gz` },
    { containerFormat: 'compressed', diskFormat: 'raw' },
  );
  await expect(flow.create(image)).rejects.toMatchObject({
    type: 'ImageRefused',
  });
});

it.each([
  { name: 'a qcow2 that ends before its data', diskFormat: 'qcow2', options: [], rule: 'file-truncated' },
  { name: 'a vmdk that ends before its data', diskFormat: 'vmdk', options: [], rule: 'file-truncated' },
  { name: 'a qcow2 whose compressed data is damaged', diskFormat: 'qcow2', options: ['-c'], rule: 'data-unreadable' },
])('refuses $name at the first try', async ({ name, diskFormat, options, rule }) => {
  const sample = await makeSampleImage({
    directory: flow.directory,
    name: name.replaceAll(' ', '-'),
    diskFormat: 'raw',
  });
  await writeFile(sample.rawPath, 'text that compression makes less of '.repeat(100_000));
  await run('truncate', ['-s', String(sample.virtualBytes), sample.rawPath]);
  const path = `${sample.rawPath}.image`;
  await run('qemu-img', ['convert', '-f', 'raw', '-O', diskFormat, ...options, sample.rawPath, path]);
  const bytes = await readFile(path);
  const isCut = rule === 'file-truncated';
  await writeFile(path, isCut ? bytes.subarray(0, bytes.length - 1_000_000) : bytes.fill(0xff, bytes.length - 10_000));
  const image = await uploadSample(flow.stack.images, { ...sample, path }, { diskFormat });
  for (const bypassCache of [false, true])
    await expect(flow.create(image, { bypassCache })).rejects.toMatchObject({
      type: 'ImageRefused',
      details: { rule },
    });
});

it.each(['vbox', 'wa\0\0', 'kiwi'])(
  'makes a volume of every sector of a VHD by %j, whose geometry has room for less',
  async (creator) => {
    const sample = await makeSampleImage({
      directory: flow.directory,
      name: `vhd-${creator.slice(0, 2)}`,
      diskFormat: 'raw',
    });
    const footer = vhdImage({ type: 'fixed', creator, virtualBytes: sample.virtualBytes }).subarray(-512);
    const path = `${sample.rawPath}.vhd`;
    await writeFile(path, Buffer.concat([await readFile(sample.rawPath), footer]));
    const image = await uploadSample(flow.stack.images, { ...sample, path }, { diskFormat: 'vhd' });
    const volume = await flow.create(image);
    expect(volume.sizeBytes).toBe(sample.virtualBytes);
    await flow.expectGuestBytes(sample, volume);
  },
);

it('makes a volume of an ISO', async () => {
  const sample = await makeSampleImage({ directory: flow.directory, name: 'cd', diskFormat: 'raw' });
  await writeFile(sample.path, isoImage());
  const image = await uploadSample(flow.stack.images, sample, { diskFormat: 'iso' });
  const volume = await flow.create(image);
  if (volume.connection.driver !== 'file') throw new Error(`unexpected driver ${volume.connection.driver}`);
  expect(await compareImages({ path: sample.path, format: 'raw' }, volume.connection)).toBe(true);
});

it('finds the size of an image whose record does not tell it', async () => {
  const sample = await makeSampleImage({ directory: flow.directory, name: 'sizeless', diskFormat: 'raw' });
  const path = `${sample.rawPath}.image`;
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'vdi', sample.rawPath, path]);
  const image = await uploadSample(flow.stack.images, { ...sample, path }, { diskFormat: 'vdi' });
  expect(image.virtualSizeBytes).toBeNull();
  expect(await flow.create(image)).toMatchObject({
    sizeBytes: sample.virtualBytes,
  });
});
