import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { z } from 'zod';
import { runCommand } from './command';
import { hasCode } from '../lib/errno';

const holderSchema = z.object({ pid: z.int().positive(), startTime: z.string() });

/** A process that cannot be mistaken for a later one with the same pid. Its pid may be one of another container. */
export type LockHolder = z.output<typeof holderSchema>;

/** `by`: what the file says; undefined while its holder has not written it. */
export type LockOutcome = { kind: 'acquired'; release: () => void } | { kind: 'held'; by: LockHolder | undefined };

const TIMEOUT_MS = 10_000;
/** `flock` finds it as its descriptor 3, and ends with 1 where somebody else has the lock. */
const FLOCK_ARGS = ['-n', '-x', '3'];
const IS_HELD = 1;

/**
 * Takes the lock file `path` for this process, or says who holds it. The lock is the kernel's, on the open file: it holds between containers and between
 * hosts that share the file, and ends with the process however that ends. What the file says is for people, and for `ivc down`.
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
  if (!(await lockDescriptor(path, descriptor))) return { kind: 'held', by: parseHolder(descriptor) };
  if (!isAt(path, descriptor)) return undefined;
  const earlier = parseHolder(descriptor);
  // A worker of an earlier version has no lock of the kernel.
  if (earlier !== undefined && isRunning(earlier) && earlier.pid !== process.pid) return { kind: 'held', by: earlier };
  const own = JSON.stringify({ pid: process.pid, startTime: findStartTime(process.pid) ?? '' });
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
    throw new Error(`${path} cannot be locked: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
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

/** @returns undefined for what is empty or damaged. */
function parseHolder(descriptor: number): LockHolder | undefined {
  try {
    const buffer = Buffer.alloc(fstatSync(descriptor).size);
    readSync(descriptor, buffer, 0, buffer.length, 0);
    return holderSchema.parse(JSON.parse(buffer.toString('utf8')));
  } catch {
    return undefined;
  }
}

/** @returns who holds a lock, for people. */
export function describeHolder(by: LockHolder | undefined): string {
  if (by !== undefined && isRunning(by)) return `the running process ${by.pid}`;
  return by === undefined ? 'another process' : `process ${by.pid} of another container or host`;
}

/** @returns whether exactly this process runs, as far as this container sees. */
function isRunning({ pid, startTime }: LockHolder): boolean {
  return findStartTime(pid) === startTime;
}

/** Boot id and clock ticks since boot: a later process with the same pid has others. @returns undefined when there is none, or a zombie. */
function findStartTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name may hold spaces and parentheses; the state follows its last parenthesis, the start time is field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}/${fields[19] ?? ''}`;
  } catch {
    return undefined;
  }
}
