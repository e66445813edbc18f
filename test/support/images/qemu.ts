import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand } from '../../../activities/command';
import { endWithTest } from '../machine/test-process';

/** A guest's disk as QEMU's tools address it: `filename` may be a protocol's. */
export interface QemuDisk {
  filename: string;
  format: 'raw' | 'qcow2';
}

/** The same as a file. */
interface QemuImage {
  path: string;
  format: QemuDisk['format'];
}

const TIMEOUT_MS = 60_000;

/** @returns sha256 of all bytes that a guest would read, and how many they are. */
export async function readGuest(disk: QemuDisk): Promise<{ sha256: string; sizeBytes: number }> {
  return await withTemporaryFile(async (raw) => {
    await runCommand('qemu-img', ['convert', '-f', disk.format, '-O', 'raw', disk.filename, raw], {
      timeoutMs: TIMEOUT_MS,
    });
    return await hashFile(raw);
  });
}

/** @returns whether a guest reads the same on both; the longer may end in zeros unless `strict`. */
export async function isSameGuest(a: QemuDisk, b: QemuDisk, { strict = false } = {}): Promise<boolean> {
  const args = ['compare', ...(strict ? ['-s'] : []), '-f', a.format, '-F', b.format, a.filename, b.filename];
  return (await runCommand('qemu-img', args, { timeoutMs: TIMEOUT_MS, answers: [0, 1] })).exitCode === 0;
}

/** As `isSameGuest`, by paths. */
export async function compareImages(a: QemuImage, b: QemuImage, options: { strict?: boolean } = {}): Promise<boolean> {
  return await isSameGuest({ ...a, filename: a.path }, { ...b, filename: b.path }, options);
}

/** @returns how many errors and leaked clusters a qcow2 has; both 0 when it is sound. */
export async function checkImage({ path, format }: QemuImage): Promise<{ errors: number; leaks: number }> {
  const args = ['check', '--output=json', '-f', format, path];
  const { stdout } = await runCommand('qemu-img', args, { timeoutMs: TIMEOUT_MS, answers: [0, 2, 3] });
  const found = JSON.parse(stdout) as Partial<Record<'corruptions' | 'check-errors' | 'leaks', number>>;
  return { errors: (found.corruptions ?? 0) + (found['check-errors'] ?? 0), leaks: found.leaks ?? 0 };
}

/** Makes a qcow2 overlay of `backing` (as written into the overlay, so relative to it) with qemu-img itself, to compare our own overlays with. */
export async function createOverlay(
  path: string,
  backing: { file: string; format: QemuDisk['format'] },
  sizeBytes: number,
): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', '-b', backing.file, '-F', backing.format, path, String(sizeBytes)];
  await runCommand('qemu-img', args, { timeoutMs: TIMEOUT_MS });
}

/** Writes `pattern` into the disk as a guest would. */
export async function writeAsGuest(disk: QemuDisk, { offset = 0, bytes = 65_536, pattern = 0xa5 } = {}): Promise<void> {
  await runCommand(
    'qemu-io',
    ['-f', disk.format, '-c', `write -P ${pattern} ${offset} ${bytes}`, '-c', 'flush', disk.filename],
    { timeoutMs: TIMEOUT_MS },
  );
}

/** Holds the disk open for writing, as a running guest does, until the returned function is called. */
export async function holdAsGuest(disk: QemuDisk): Promise<() => Promise<void>> {
  const qemuIo = findTool('qemu-io');
  if (qemuIo === undefined) throw new Error('qemu-io is not installed');
  const holder = endWithTest(spawn(qemuIo, ['-f', disk.format, disk.filename], { stdio: ['pipe', 'pipe', 'inherit'] }));
  await untilPrompt(holder);
  return async () => {
    const closed = new Promise<void>((resolve) => holder.once('close', () => resolve()));
    // As a guest that is shut down: a Ceph cluster takes a client that was killed for alive for half a minute.
    holder.stdin.end('quit\n');
    await closed;
  };
}

/** Makes a raw file of data, zeros and a hole, of any length; not two alike. */
export async function writeSampleImage(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.truncate(sizeBytes);
    await file.write(randomBytes(Math.min(sizeBytes, 300_000)), 0, undefined, 0);
    const tail = Math.min(sizeBytes, 5000);
    await file.write(randomBytes(tail), 0, tail, sizeBytes - tail);
  } finally {
    await file.close();
  }
}

export async function hashFile(path: string): Promise<{ sha256: string; sizeBytes: number }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

async function untilPrompt(process: ChildProcess): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.once('exit', (code) => reject(new Error(`qemu-io ended with ${code}`)));
    process.stdout?.on('data', (chunk: Buffer) => {
      if (chunk.includes('qemu-io>')) resolve();
    });
  });
}

async function withTemporaryFile<Result>(use: (path: string) => Promise<Result>): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), 'ivc-guest-'));
  try {
    return await use(join(directory, 'raw'));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
