import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProcess } from '../../../lib/process-identity';
import { acquireProcessLock } from '../../../activities/process-lock';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-lock-'));
  path = join(directory, 'lock');
});
afterEach(() => rmSync(directory, { recursive: true }));

test('one holder at a time, and the other is told who', async () => {
  const lock = await acquireProcessLock(path);
  expect(lock.kind).toBe('acquired');
  expect(await acquireProcessLock(path)).toEqual({ kind: 'held', by: findProcess(process.pid) });
  if (lock.kind === 'acquired') lock.release();
  expect((await acquireProcessLock(path)).kind).toBe('acquired');
});

test.each([
  ['whose holder ended', JSON.stringify({ pid: 4_000_000, startTime: 'x/1' })],
  ['whose pid belongs to another process by now', JSON.stringify({ pid: process.pid, startTime: 'x/1' })],
  ['that was damaged', '{"pid":'],
])('a lock %s is taken over', async (_, content) => {
  writeFileSync(path, content);
  expect((await acquireProcessLock(path)).kind).toBe('acquired');
  expect(readdirSync(directory)).toEqual(['lock']);
});

test('a released lock leaves no file', async () => {
  const lock = await acquireProcessLock(path);
  if (lock.kind === 'acquired') lock.release();
  expect(existsSync(path)).toBe(false);
});
