import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { isProcessRunning } from '../../../../lib/process-identity';
import { readLogTail, startPart, type Part } from '../../../../worker/stack/part';
import { endRecordedProcesses } from '../../../../worker/stack/process-files';
import { waitForReadyLine } from '../../../../worker/stack/node-process';

let directory: string;
let logPath: string;
let pidPath: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-part-'));
  logPath = join(directory, 'part.log');
  pidPath = join(directory, 'part.pid');
});
afterEach(async () => {
  await endRecordedProcesses(directory, []);
  rmSync(directory, { recursive: true });
});

function start(program: string): Promise<Part> {
  return startPart({ name: 'part', command: process.execPath, args: ['-e', program], env: {}, logPath, pidPath });
}

const ready = z.object({ ready: z.literal(true), port: z.int() });

test('what it prints goes to a log that only its owner reads, after what an earlier run printed', async () => {
  await (
    await start('console.log("one")')
  ).exited;
  const second = await start('console.error("two")');
  expect(await second.exited).toBe('exit code 0');
  expect(readFileSync(logPath, 'utf8')).toBe('one\ntwo\n');
  expect(await readLogTail(logPath, second.logStart)).toBe('two');
  expect(statSync(logPath).mode & 0o777).toBe(0o600);
});

test('a log that has grown large is moved aside once', async () => {
  writeFileSync(logPath, Buffer.alloc(17 * 1024 ** 2, 'x\n'));
  await (
    await start('console.log("new")')
  ).exited;
  expect(readFileSync(logPath, 'utf8')).toBe('new\n');
  expect(existsSync(`${logPath}.1`)).toBe(true);
});

test('its ready line is found among other lines, and only in this run', async () => {
  await (
    await start('console.log(JSON.stringify({ ready: true, port: 1 }))')
  ).exited;
  const part = await start(
    'console.log("{ no json"); console.log(JSON.stringify({ ready: true, port: 2 })); setInterval(() => {}, 1000)',
  );
  expect(await waitForReadyLine(part, ready, { deadlineMs: 10_000 })).toEqual({ ready: true, port: 2 });
  await part.stop();
  expect(isProcessRunning(part.process)).toBe(false);
  expect(existsSync(pidPath)).toBe(false);
});

test('waiting for one that ends without it says how it ended', async () => {
  const part = await start('process.exit(3)');
  await expect(waitForReadyLine(part, ready, { deadlineMs: 10_000 })).rejects.toThrow('exit code 3');
});

test('one that ignores SIGTERM is killed after its deadline', async () => {
  const part = await startPart({
    name: 'part',
    command: process.execPath,
    args: [
      '-e',
      'process.on("SIGTERM", () => {}); console.log("{\\"ready\\":true,\\"port\\":1}"); setInterval(() => {}, 1000)',
    ],
    env: {},
    logPath,
    stopDeadlineMs: 100,
  });
  await waitForReadyLine(part, ready, { deadlineMs: 10_000 });
  await part.stop();
  expect(await part.exited).toBe('SIGKILL');
});

test('a later run ends exactly the processes that were recorded', async () => {
  const part = await start('setInterval(() => {}, 1000)');
  writeFileSync(join(directory, 'other.pid'), JSON.stringify({ pid: process.pid, startTime: 'another/1' }));
  expect(await endRecordedProcesses(directory, ['part'])).toEqual(['part']);
  expect(await part.exited).toBe('SIGINT');
  expect(existsSync(join(directory, 'other.pid'))).toBe(false);
});

test('a command that does not exist is an error', async () => {
  await expect(
    startPart({ name: 'part', command: join(directory, 'absent'), args: [], env: {}, logPath }),
  ).rejects.toThrow(/ENOENT/);
});
