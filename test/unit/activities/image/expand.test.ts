import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findTool } from '../../../../activities/command';
import { expandImage, type ExpandRequest } from '../../../../activities/image/expand';
import { defaultImagePolicy } from '../../../../activities/image/policy';
import { getDefaultToolGuard, type ToolGuard } from '../../../../activities/image/tool-guard';
import { MiB } from '../../../../workflows/contract/bytes';
import { hashFile, writeSampleImage } from '../../../support/images/qemu';

const run = promisify(execFile);
const SIZE_BYTES = 4 * MiB;
const extensions: Record<string, string> = { gzip: 'gz', xz: 'xz', zstd: 'zst' };
const imageId = '4f5d1c9e-0000-4000-8000-000000000001';

describe('expandImage', () => {
  let directory: string;
  let raw: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-expand-'));
    raw = join(directory, 'image.raw');
    await writeSampleImage(raw, SIZE_BYTES);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });
  const expand = async (path: string, more: Partial<ExpandRequest> = {}) =>
    await expandImage({
      imageId,
      path,
      expandedPath: join(directory, 'expanded'),
      policy: defaultImagePolicy,
      reporter: { report: () => undefined, signal: new AbortController().signal },
      reserve: () => Promise.resolve(),
      ...more,
    });

  it.each([
    ['gzip', 'gz'],
    ['xz', 'xz'],
    ['zstd', 'zst'],
  ])('gives back what %s compressed, with room set aside before it is written', async (tool, extension) => {
    await run(tool, ['-kq', raw]);
    const reserved: number[] = [];
    const reserve = (bytes: number) => Promise.resolve(void reserved.push(bytes));
    expect(await expand(`${raw}.${extension}`, { reserve })).toEqual({ bytes: SIZE_BYTES });
    expect(await hashFile(join(directory, 'expanded'))).toEqual(await hashFile(raw));
    expect(reserved.at(-1)).toBeGreaterThanOrEqual(SIZE_BYTES);
  });

  it('leaves holes for zeros', async () => {
    const zeros = join(directory, 'zeros');
    await writeFile(zeros, '');
    await truncate(zeros, 64 * MiB);
    await run('zstd', ['-q', zeros]);
    expect(await expand(`${zeros}.zst`)).toEqual({ bytes: 64 * MiB });
    const { size, blocks } = await stat(join(directory, 'expanded'));
    expect(size).toBe(64 * MiB);
    expect(blocks * 512).toBeLessThan(MiB);
  });

  it('refuses one that expands out of proportion, as soon as it does', async () => {
    await run('zstd', ['-q', raw]);
    const policy = { ...defaultImagePolicy, maxExpansion: 0, expansionAllowanceBytes: MiB };
    await expect(expand(`${raw}.zst`, { policy })).rejects.toMatchObject({
      type: 'ImageRefused',
      details: { imageId, rule: 'expansion-too-large' },
    });
    expect((await stat(join(directory, 'expanded'))).size).toBeLessThanOrEqual(MiB);
  });

  it('gives back a zstd stream that begins with a skippable frame, or has several frames', async () => {
    await run('zstd', ['-kq', raw]);
    const frame = await readFile(`${raw}.zst`);
    const skippable = Buffer.from('5c2a4d1804000000deadbeef', 'hex');
    await writeFile(`${raw}.zst`, Buffer.concat([skippable, frame, skippable, frame]));
    expect(await expand(`${raw}.zst`)).toEqual({ bytes: 2 * SIZE_BYTES });
    await writeFile(`${raw}.zst`, Buffer.concat([skippable, frame.subarray(0, 2000)]));
    await expect(expand(`${raw}.zst`)).rejects.toMatchObject({ details: { rule: 'container-damaged' } });
  });

  it('tells a stream that needs more memory than it gets from one that is damaged', async () => {
    // One empty block in a frame with a window of 1 GiB.
    await writeFile(`${raw}.zst`, Buffer.from('28b52ffd00a0010000', 'hex'));
    await expect(expand(`${raw}.zst`)).rejects.toMatchObject({
      type: 'ImageRefused',
      details: {
        rule: 'container-memory',
        found: 'a file that zstd needs more memory for',
        allowed: '512 MiB: compress it with a smaller window or dictionary',
      },
    });
    await truncate(raw, 1000);
    await run('xz', ['-kq', '--lzma2=dict=1GiB', raw]);
    await expect(expand(`${raw}.xz`)).rejects.toMatchObject({ details: { rule: 'container-memory' } });
  });

  it.each([
    ['lzma', 'an lzma file'],
    ['bzip2', 'a bzip2 file'],
    ['tar', 'a tar archive, such as an OVA'],
  ])('says of what %s made what it is and what to do', async (tool, found) => {
    const path = join(directory, 'made');
    const args = { lzma: ['--format=lzma', '-c', raw], bzip2: ['-c', raw], tar: ['-C', directory, '-c', 'image.raw'] };
    const { stdout } = await run(tool === 'lzma' ? 'xz' : tool, args[tool as keyof typeof args], {
      encoding: 'buffer',
      maxBuffer: 64 * MiB,
    });
    await writeFile(path, stdout);
    await expect(expand(path)).rejects.toMatchObject({
      details: {
        rule: 'container-not-compressed',
        found,
        allowed: 'a gzip, xz or zstd file: compress the disk with one of them',
      },
    });
  });

  it('refuses what is not compressed, and what is cut or damaged', async () => {
    await expect(expand(raw)).rejects.toMatchObject({ details: { rule: 'container-not-compressed' } });
    await run('gzip', ['-kq', raw]);
    const bytes = await readFile(`${raw}.gz`);
    await writeFile(`${raw}.gz`, bytes.subarray(0, bytes.length - 100));
    await expect(expand(`${raw}.gz`)).rejects.toMatchObject({
      type: 'ImageRefused',
      details: { rule: 'container-damaged' },
    });
    bytes.fill(0xff, 1000, 3000);
    await writeFile(`${raw}.gz`, bytes);
    await expect(expand(`${raw}.gz`)).rejects.toMatchObject({ details: { rule: 'container-damaged' } });
  });

  it.each(['gzip', 'xz', 'zstd'])('refuses what %s finds damaged: its end cut off, bytes changed', async (tool) => {
    await run(tool, ['-kq', raw]);
    const file = extensions[tool] ?? '';
    const bytes = await readFile(`${raw}.${file}`);
    const refused = { type: 'ImageRefused', details: { rule: 'container-damaged', bytesVerified: true } };
    await writeFile(`${raw}.${file}`, bytes.subarray(0, bytes.length / 2));
    await expect(expand(`${raw}.${file}`)).rejects.toMatchObject(refused);
    await writeFile(`${raw}.${file}`, Buffer.from(bytes).fill(0xff, 1000, 3000));
    await expect(expand(`${raw}.${file}`)).rejects.toMatchObject(refused);
  });

  describe('when it is not the image that is at fault', () => {
    const guard = async (more: Partial<ToolGuard>): Promise<ToolGuard> => ({
      ...(await getDefaultToolGuard()),
      ...more,
    });

    it.each([
      ['unshare', ['--map-users=0,0,4000000000']],
      ['setpriv', ['--reuid=no-such-user']],
      ['setpriv', ['--no-new-privs', '/no/such/program']],
      ['false', []],
    ])('fails as ToolFailed where %s %j ends instead of the tool', async (confining, args) => {
      await run('gzip', ['-kq', raw]);
      const confinement = { argv: [findTool(confining) ?? '', ...args], holds: [], missing: [] };
      await expect(expand(`${raw}.gz`, { guard: await guard({ confinement }) })).rejects.toMatchObject({
        type: 'ToolFailed',
        details: { exit: expect.stringMatching(/^exit /) },
      });
    });

    it.each(['gzip', 'xz', 'zstd'])('fails as ToolFailed where %s has no memory', async (tool) => {
      await run(tool, ['-kq', raw]);
      const confinement = { argv: [], holds: [], missing: [] };
      const limits = { addressSpaceBytes: 3 * MiB };
      const starved = await guard({ confinement, limits });
      await expect(expand(`${raw}.${extensions[tool] ?? ''}`, { guard: starved })).rejects.toMatchObject({
        type: 'ToolFailed',
      });
    });
  });

  it('fails as its reservation does, and as its caller cancels', async () => {
    await run('gzip', ['-kq', raw]);
    const full = expand(`${raw}.gz`, { reserve: () => Promise.reject(new Error('scratch is full')) });
    await expect(full).rejects.toThrow('scratch is full');
    const abort = new AbortController();
    const reporter = { report: () => abort.abort(new Error('cancelled by the user')), signal: abort.signal };
    await expect(expand(`${raw}.gz`, { reporter })).rejects.toThrow('cancelled by the user');
  });
});
