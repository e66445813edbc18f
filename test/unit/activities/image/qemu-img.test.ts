import { chmod, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand } from '../../../../activities/command';
import { convertToRaw, getImageInfo, isOpenInQemu } from '../../../../activities/image/qemu-img';
import { checkImage, compareImages, createOverlay } from '../../../support/images/qemu';
import { createToolGuard, defaultToolSettings } from '../../../../activities/image/tool-guard';
import { MiB } from '../../../../workflows/contract/bytes';
import { vhdImage } from '../../../support/images/vhd';
import { hashFile, holdAsGuest, readGuest, writeSampleImage } from '../../../support/images/qemu';

const SIZE_BYTES = 4 * MiB;

describe('qemu-img', () => {
  let directory: string;
  let raw: string;
  let qcow2: string;
  const qemuImg = async (...args: string[]) => await runCommand('qemu-img', args, { timeoutMs: 30_000 });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-qemu-'));
    [raw, qcow2] = [join(directory, 'image.raw'), join(directory, 'image.qcow2')];
    await writeSampleImage(raw, SIZE_BYTES);
    await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });
  const makeTarget = async (virtualBytes: number) => {
    const path = join(directory, 'target');
    await writeFile(path, '');
    await truncate(path, virtualBytes);
    return { qemuTarget: `file:${path}`, path, virtualBytes };
  };

  it('believes the footer of a VHD, and not its geometry, where it is told so', async () => {
    const [vhd, source] = [join(directory, 'a, b=c.vhd'), { format: 'vpc', sizeByFooter: true } as const];
    const disk = await readFile(raw);
    const image = vhdImage({ type: 'fixed', creator: 'vbox', virtualBytes: SIZE_BYTES });
    await writeFile(vhd, Buffer.concat([disk, image.subarray(SIZE_BYTES)]));
    expect(await getImageInfo({ path: vhd, ...source })).toMatchObject({ format: 'vpc', virtualBytes: SIZE_BYTES });
    const target = await makeTarget(SIZE_BYTES);
    await convertToRaw({ source: { path: vhd, ...source }, target, backend: 'b' });
    expect(await hashFile(target.path)).toEqual(await hashFile(raw));
  });

  it('describes an image in the format that it is told', async () => {
    expect(await getImageInfo({ path: qcow2, format: 'qcow2' })).toMatchObject({
      format: 'qcow2',
      virtualBytes: SIZE_BYTES,
      encrypted: false,
      corrupt: false,
      snapshots: 0,
    });
    expect(await getImageInfo({ path: qcow2, format: 'raw' })).toMatchObject({ format: 'raw', backingFile: undefined });
  });

  it('names backing and data files without opening them', async () => {
    const backed = join(directory, 'backed.qcow2');
    await qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', '/does/not/exist', '-F', 'raw', backed, '1M');
    expect(await getImageInfo({ path: backed, format: 'qcow2' })).toMatchObject({ backingFile: '/does/not/exist' });
    const split = join(directory, 'split.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${join(directory, 'data')}`, split, '1M');
    expect(await getImageInfo({ path: split, format: 'qcow2' })).toMatchObject({ dataFile: join(directory, 'data') });
  });

  it('reads a file whose name looks like a protocol or like options as that file', async () => {
    for (const odd of ['nbd:localhost:10809', 'json:{"driver":"null-co"}', 'a,b=c:d']) {
      const path = join(directory, odd);
      await writeFile(path, Buffer.alloc(1024));
      expect(await getImageInfo({ path, format: 'raw' })).toMatchObject({ virtualBytes: 1024 });
      expect(await isOpenInQemu(path)).toBe(false);
    }
    await expect(getImageInfo({ path: 'relative', format: 'raw' })).rejects.toThrow(/\brelative$/);
  });

  it.each(['raw', 'qcow2'] as const)('converts %s to identical guest bytes, telling its progress', async (format) => {
    const target = await makeTarget(SIZE_BYTES);
    const progress: number[] = [];
    await convertToRaw({
      source: { path: format === 'raw' ? raw : qcow2, format },
      target,
      backend: 'b',
      onProgress: (done) => progress.push(done),
    });
    expect(await hashFile(target.path)).toEqual(await readGuest({ filename: raw, format: 'raw' }));
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
  });

  it.each([
    ['qcow2', ['-O', 'qcow2', '-c']],
    ['qcow2', ['-O', 'qcow2', '-o', 'compression_type=zstd,extended_l2=on', '-c']],
    ['vmdk', ['-O', 'vmdk', '-o', 'subformat=monolithicSparse']],
    ['vmdk', ['-O', 'vmdk', '-o', 'subformat=streamOptimized']],
    ['vpc', ['-O', 'vpc', '-o', 'force_size=on']],
    ['vpc', ['-O', 'vpc', '-o', 'subformat=fixed,force_size=on']],
    ['vhdx', ['-O', 'vhdx']],
    ['vdi', ['-O', 'vdi']],
  ] as const)('converts a private %s that was made with %p', async (format, options) => {
    const path = join(directory, 'image');
    await qemuImg('convert', '-f', 'raw', ...options, raw, path);
    await chmod(path, 0o400);
    expect(await getImageInfo({ path, format })).toMatchObject({ format, virtualBytes: SIZE_BYTES });
    const target = await makeTarget(SIZE_BYTES);
    await convertToRaw({ source: { path, format }, target, backend: 'b' });
    expect(await hashFile(target.path)).toEqual(await readGuest({ filename: raw, format: 'raw' }));
  });

  it('refuses a source that is not of its format, and one that is larger than its target', async () => {
    const target = await makeTarget(SIZE_BYTES);
    const asQcow2 = convertToRaw({ source: { path: raw, format: 'qcow2' }, target, backend: 'b' });
    await expect(asQcow2).rejects.toMatchObject({
      type: 'ToolFailed',
      details: { tool: 'qemu-img', stderr: expect.stringContaining('not in qcow2 format') },
    });
    const small = { ...target, virtualBytes: MiB };
    await truncate(target.path, MiB);
    await expect(
      convertToRaw({ source: { path: raw, format: 'raw' }, target: small, backend: 'b' }),
    ).rejects.toMatchObject({ type: 'ToolFailed' });
  });

  it('stops a conversion that is aborted', async () => {
    const abort = new AbortController();
    const target = await makeTarget(SIZE_BYTES);
    const onProgress = (): void => abort.abort(new Error('cancelled by the user'));
    await expect(
      convertToRaw({ source: { path: raw, format: 'raw' }, target, backend: 'b', signal: abort.signal, onProgress }),
    ).rejects.toThrow('cancelled by the user');
  });

  it('converts with the rights that the host lets it take away, and leaves owners and modes as they were', async () => {
    const target = await makeTarget(SIZE_BYTES);
    const guard = await createToolGuard(defaultToolSettings);
    await chmod(qcow2, 0o400);
    await chmod(target.path, 0o600);
    const rights = async (path: string) => {
      const { uid, gid, mode } = await stat(path);
      return { uid, gid, mode };
    };
    const before = [await rights(qcow2), await rights(target.path)];
    const tellingStatus = await installTellingQemuImg(directory);
    try {
      await convertToRaw({ source: { path: qcow2, format: 'qcow2' }, target, backend: 'b', guard });
    } finally {
      tellingStatus.uninstall();
    }
    const { userId = process.getuid?.() } = guard.confinement;
    expect(await tellingStatus.read()).toMatchObject({
      Uid: Array(4).fill(String(userId)).join('\t'),
      NoNewPrivs: '1',
      CapEff: '0'.repeat(16),
    });
    expect(await hashFile(target.path)).toEqual(await readGuest({ filename: raw, format: 'raw' }));
    expect([await rights(qcow2), await rights(target.path)]).toEqual(before);
  });

  it('writes no further than the target is large, whatever the source says', async () => {
    const target = { ...(await makeTarget(SIZE_BYTES)), virtualBytes: MiB };
    const beyond = convertToRaw({ source: { path: raw, format: 'raw' }, target, backend: 'b' });
    await expect(beyond).rejects.toMatchObject({ type: 'ToolFailed', details: { tool: 'qemu-img' } });
  });

  it('ends a conversion at its wall clock limit', async () => {
    const guard = { ...(await createToolGuard(defaultToolSettings)), timeoutMs: 1 };
    const target = await makeTarget(SIZE_BYTES);
    await expect(
      convertToRaw({ source: { path: raw, format: 'raw' }, target, backend: 'b', guard }),
    ).rejects.toMatchObject({ details: { exit: 'killed at its deadline of 1 ms' } });
  });

  it('finds what is broken in a qcow2', async () => {
    expect(await checkImage({ path: qcow2, format: 'qcow2' })).toEqual({ errors: 0, leaks: 0 });
    const bytes = await readFile(qcow2);
    bytes.fill(0, Number(bytes.readBigUInt64BE(48)) + 65_536, Number(bytes.readBigUInt64BE(48)) + 65_536 + 64);
    await writeFile(qcow2, bytes);
    expect((await checkImage({ path: qcow2, format: 'qcow2' })).errors).toBeGreaterThan(0);
  });

  it('compares what guests read, the longer ending in zeros unless that is forbidden', async () => {
    const overlay = join(directory, 'overlay.qcow2');
    await createOverlay(overlay, { file: 'image.raw', format: 'raw' }, 2 * SIZE_BYTES);
    const [a, b] = [{ path: raw, format: 'raw' } as const, { path: overlay, format: 'qcow2' } as const];
    expect(await compareImages(a, b)).toBe(true);
    expect(await compareImages(a, b, { strict: true })).toBe(false);
    expect(await compareImages(a, { path: qcow2, format: 'raw' })).toBe(false);
  });

  it.each(['raw', 'qcow2'] as const)('sees that a %s is open in QEMU, and that it is not any more', async (format) => {
    const path = format === 'raw' ? raw : qcow2;
    expect(await isOpenInQemu(path)).toBe(false);
    const release = await holdAsGuest({ filename: path, format });
    try {
      expect(await isOpenInQemu(path)).toBe(true);
    } finally {
      await release();
    }
    expect(await isOpenInQemu(path)).toBe(false);
  });

  it('says that it is not installed', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = directory;
    try {
      await expect(getImageInfo({ path: raw, format: 'raw' })).rejects.toMatchObject({
        type: 'ToolFailed',
        details: { tool: 'qemu-img', exit: 'not installed' },
      });
    } finally {
      process.env['PATH'] = path;
    }
  });
});

/** Puts a qemu-img before the real one on PATH that writes down what `/proc` says of it, then becomes the real one. */
async function installTellingQemuImg(directory: string) {
  const path = process.env['PATH'];
  const status = join(directory, 'status');
  const script = `#!/bin/sh\ncat /proc/$$/status > ${status}\nexec ${findTool('qemu-img')} "$@"\n`;
  await chmod(directory, 0o777);
  await writeFile(join(directory, 'qemu-img'), script, { mode: 0o755 });
  process.env['PATH'] = `${directory}:${path}`;
  return {
    uninstall: () => void (process.env['PATH'] = path),
    read: async () =>
      Object.fromEntries(
        [...(await readFile(status, 'utf8')).matchAll(/^(\w+):\t(.*)$/gm)].map((match) => match.slice(1)),
      ),
  };
}
