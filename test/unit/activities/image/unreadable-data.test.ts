import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../../../../activities/command';
import { convertToRaw, type QemuImage } from '../../../../activities/image/qemu-img';
import { isDataUnreadable, unreadableData } from '../../../../activities/image/unreadable-data';
import { MiB } from '../../../../workflows/contract/bytes';

const SIZE_BYTES = 4 * MiB;

describe('A conversion that fails by the data of the image', () => {
  let directory: string;
  let raw: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-unreadable-'));
    raw = join(directory, 'image.raw');
    const text = Array.from({ length: 400_000 }, (_none, at) => `${at * at} words `).join('');
    await writeFile(raw, text.slice(0, SIZE_BYTES));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });
  const make = async (format: QemuImage['format'], ...options: string[]): Promise<QemuImage> => {
    const path = join(directory, `image.${format}`);
    await runCommand('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, raw, path], { timeoutMs: 30_000 });
    return { path, format };
  };
  /** Behind the tables, in the middle of the compressed data. */
  const damage = async ({ path }: QemuImage): Promise<void> => {
    const bytes = await readFile(path);
    await writeFile(path, bytes.fill(0xff, bytes.length / 2, bytes.length / 2 + 50_000));
  };
  const failureOf = async (source: QemuImage, targetBytes = SIZE_BYTES): Promise<unknown> => {
    const path = join(directory, 'target');
    await writeFile(path, '');
    await truncate(path, targetBytes);
    const target = { qemuTarget: `file:${path}`, path, virtualBytes: targetBytes };
    return await convertToRaw({ source, target, backend: 'b' }).catch((error: unknown) => error);
  };

  it.each<[QemuImage['format'], string[]]>([
    ['qcow2', ['-c']],
    ['qcow2', ['-c', '-o', 'compression_type=zstd']],
    ['vmdk', ['-o', 'subformat=streamOptimized']],
  ])('is told from every other, %s %j', async (format, options) => {
    const image = await make(format, ...options);
    await damage(image);
    const failure = await failureOf(image);
    expect(await isDataUnreadable(failure, image)).toBe(true);
    expect(unreadableData(failure)).toMatchObject({
      rule: 'data-unreadable',
      found: expect.stringMatching(/^guest bytes from byte \d+ of the disk that qemu-img cannot read$/),
    });
  });

  it('is none where the target is at fault, nor where the disk cannot read the file', async () => {
    const image = await make('qcow2', '-c');
    expect(await isDataUnreadable(await failureOf(image, 0), image)).toBe(false);
    await damage(image);
    const failure = await failureOf(image);
    await rm(image.path);
    expect(await isDataUnreadable(failure, image)).toBe(false);
  });

  it('does not read on for a caller that has left', async () => {
    const image = await make('qcow2', '-c');
    await damage(image);
    const failure = await failureOf(image);
    const signal = AbortSignal.abort(new Error('cancelled by the user'));
    await expect(isDataUnreadable(failure, { ...image, signal })).rejects.toThrow('cancelled by the user');
  });
});
