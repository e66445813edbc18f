import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { findProcess, isProcessRunning } from '../../../lib/process-identity';
import { endWithTest } from '../../support/machine/test-process';

test('a running process has an identity that stays the same', () => {
  const own = findProcess(process.pid);
  expect(own).toBeDefined();
  expect(findProcess(process.pid)).toEqual(own);
});

test('a process that ended is not running, nor is a later one with its pid', async () => {
  const child = endWithTest(spawn('sleep', ['60']));
  await once(child, 'spawn');
  const identity = findProcess(child.pid ?? 0);
  expect(identity && isProcessRunning(identity)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(identity && isProcessRunning(identity)).toBe(false);
  expect(isProcessRunning({ pid: process.pid, startTime: identity?.startTime ?? '' })).toBe(false);
});

test('a name with spaces and parentheses does not confuse it', async () => {
  const script = 'process.title = "a) S 1 (b"; console.log("named"); setInterval(() => {}, 1000)';
  const child = endWithTest(spawn(process.execPath, ['-e', script]));
  await once(child.stdout, 'data');
  const identity = findProcess(child.pid ?? 0);
  expect(identity && isProcessRunning(identity)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
});
