import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { runCommand } from './command';
import { hasCode } from '../lib/errno';
import { type ProcessIdentity, isProcessRunning, findProcess, parseProcess } from '../lib/process-identity';
import { errorMessage } from '../lib/error-message';

/** `by`: the holder that the file names; undefined while it has not written it. */
export type LockOutcome = { kind: 'acquired'; release: () => void } | { kind: 'held'; by: ProcessIdentity | undefined };

const TIMEOUT_MS = 10_000;
/** `flock` finds it as its descriptor 3, and ends with 1 where somebody else has the lock. */
const FLOCK_ARGS = ['-n', '-x', '3'];
const IS_HELD = 1;

/**
 * Takes the lock file `path` for this process, or says who holds it. The lock is the kernel's, on the open file: it holds between containers and between
 * hosts that share the file, and ends with the process however that ends. The file's content is for people, and for `ivc down`.
 * @throws Error where the file system or the host has no such locks.
 */
export async function acquireProcessLock(path: string): Promise<LockOutcome> {
  for (;;) {
    // A number, not a handle: nobody closes it when it is no longer looked at.
    const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const outcome = await lockFile(path, descriptor).catch((error: unknown) => {
      closeSync(descriptor);
      throw error;
    });
    if (outcome?.kind === 'acquired') return outcome;
    closeSync(descriptor);
    if (outcome !== undefined) return outcome;
  }
}

/** @returns undefined when the file was removed by its last holder meanwhile. */
async function lockFile(path: string, descriptor: number): Promise<LockOutcome | undefined> {
  if (!(await lockDescriptor(path, descriptor))) return { kind: 'held', by: readHolder(descriptor) };
  if (!isAt(path, descriptor)) return undefined;
  const earlier = readHolder(descriptor);
  // A worker of an earlier version has no lock of the kernel.
  if (earlier !== undefined && isProcessRunning(earlier) && earlier.pid !== process.pid)
    return { kind: 'held', by: earlier };
  const own = JSON.stringify(findProcess(process.pid) ?? { pid: process.pid, startTime: '' });
  ftruncateSync(descriptor, 0);
  writeSync(descriptor, own, 0);
  return {
    kind: 'acquired',
    release: () => {
      // Under the lock, so that nobody else's file is removed.
      if (isAt(path, descriptor)) rmSync(path, { force: true });
      closeSync(descriptor);
    },
  };
}

/** The child locks the open file that it inherits; the lock stays with this process when the child has ended. Source: flock(2). */
async function lockDescriptor(path: string, descriptor: number): Promise<boolean> {
  try {
    const options = { timeoutMs: TIMEOUT_MS, descriptors: [descriptor], answers: [0, IS_HELD] };
    return (await runCommand('flock', FLOCK_ARGS, options)).exitCode === 0;
  } catch (cause) {
    throw new Error(`${path} cannot be locked: ${errorMessage(cause)}`, { cause });
  }
}

function isAt(path: string, descriptor: number): boolean {
  try {
    const [at, open] = [statSync(path), fstatSync(descriptor)];
    return at.ino === open.ino && at.dev === open.dev;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

function readHolder(descriptor: number): ProcessIdentity | undefined {
  const buffer = Buffer.alloc(fstatSync(descriptor).size);
  readSync(descriptor, buffer, 0, buffer.length, 0);
  return parseProcess(buffer.toString('utf8'));
}

/** @returns who holds a lock, for people. */
export function describeHolder(by: ProcessIdentity | undefined): string {
  if (by !== undefined && isProcessRunning(by)) return `the running process ${by.pid}`;
  return by === undefined ? 'another process' : `process ${by.pid} of another container or host`;
}
