import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileSystemSpace, syncPath, writeAll, writeFileAtomically } from '../../../lib/files';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-files-'));
  path = join(directory, 'file');
});
afterEach(() => rmSync(directory, { recursive: true }));

test('a file is replaced as a whole, and only its owner reads it', () => {
  writeFileAtomically(path, 'old');
  writeFileAtomically(path, 'new');
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(['file']);
});

test('more than one write holds is written where it belongs', async () => {
  const bytes = Buffer.alloc(3 * 2 ** 20 + 5, 'abcdefg');
  const file = await open(path, 'w');
  await writeAll(file, bytes, 10);
  await file.close();
  await syncPath(path);
  await syncPath(directory);
  expect(readFileSync(path).subarray(10).equals(bytes)).toBe(true);
});

test('a file system tells its space', async () => {
  const { totalBytes, freeBytes } = await fileSystemSpace(directory);
  expect(totalBytes).toBeGreaterThan(freeBytes);
});
