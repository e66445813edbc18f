import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publishFile, removeFile, syncDirectory, writeNewFile } from '../../../../../activities/backends/file/durable';

describe('durable files', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-durable-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it('are written with holes between their parts, for their owner alone, and replace nothing', async () => {
    const path = join(directory, 'file');
    const content = { writes: [{ position: 3, bytes: Buffer.from('abc') }], fileBytes: 8 };
    await writeNewFile(path, content);
    expect(await readFile(path, 'latin1')).toBe('\0\0\0abc\0\0');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await expect(writeNewFile(path, content)).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await readFile(path, 'latin1')).toBe('\0\0\0abc\0\0');
  });

  it('get their name from one of several that publish them, and no temporary name stays', async () => {
    const names = ['a', 'b', 'c', 'd'].map((name) => join(directory, name));
    await Promise.all(names.map(async (name) => await writeFile(name, name)));
    const published = await Promise.all(names.map(async (name) => await publishFile(name, join(directory, 'final'))));
    expect(published.filter(Boolean)).toHaveLength(1);
    expect(await readdir(directory)).toEqual(['final']);
    expect(await readFile(join(directory, 'final'), 'utf8')).toBe(names[published.indexOf(true)]);
  });

  it('are removed once, and the absent is done', async () => {
    await writeFile(join(directory, 'file'), '');
    expect(await removeFile(join(directory, 'file'))).toBe(true);
    expect(await removeFile(join(directory, 'file'))).toBe(false);
  });

  it('share directory syncs, and each caller hears of a failure', async () => {
    await Promise.all(Array.from({ length: 50 }, async () => await syncDirectory(directory)));
    const missing = join(directory, 'missing');
    const outcomes = await Promise.allSettled([1, 2, 3].map(async () => await syncDirectory(missing)));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await syncDirectory(directory);
  });
});
