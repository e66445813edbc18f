import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { once } from 'node:events';
import { findProcess, type ProcessIdentity } from '../../lib/process-identity';
import { endProcess, writeProcessFile } from './process-files';

export interface PartOptions {
  /** As people read it: `temporal`, `postgres`. */
  name: string;
  command: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  cwd?: string;
  /** The user of the process; default: this process's. */
  user?: { uid: number; gid: number };
  /** Both streams are appended to this file (0600). */
  logPath: string;
  /** Where the process is recorded while it runs. */
  pidPath?: string;
  /** Sent in turn until it ends; default SIGTERM, then SIGKILL. */
  stopSignals?: readonly NodeJS.Signals[];
  /** How long each signal may need. */
  stopDeadlineMs?: number;
}

/** One running process of the stack. */
export interface Part {
  readonly name: string;
  readonly process: ProcessIdentity;
  readonly logPath: string;
  /** Byte offset in the log at which this run begins. */
  readonly logStart: number;
  /** How it ended, once it has: `exit code 1`, `SIGKILL`. Never rejects. */
  readonly exited: Promise<string>;
  /** @throws Error with the end of the log when the process has ended. */
  assertRunning: () => void;
  /** Ends it and waits; does nothing when it has ended. */
  stop: () => Promise<void>;
}

const LOG_BYTES_LIMIT = 16 * 1024 ** 2;

/** Starts a process in a session of its own, so that a Ctrl-C of the terminal reaches only the supervisor, which stops parts in order.
 *  @throws Error when the command cannot be started. Undo: `stop`. */
export async function startPart(options: PartOptions): Promise<Part> {
  rotateLog(options.logPath);
  const log = openSync(options.logPath, 'a', 0o600);
  const logStart = statSync(options.logPath).size;
  const child = spawnInSession(options, log);
  try {
    await once(child, 'spawn');
  } finally {
    closeSync(log);
  }
  const identity = findProcess(child.pid ?? 0) ?? { pid: child.pid ?? 0, startTime: 'ended at once' };
  if (options.pidPath !== undefined) writeProcessFile(options.pidPath, identity);
  return watchPart(child, { ...options, identity, logStart });
}

function spawnInSession({ command, args, env, cwd, user }: PartOptions, log: number): ChildProcess {
  const child = spawn(command, args, { env, cwd, ...user, detached: true, stdio: ['ignore', log, log] });
  child.unref();
  return child;
}

function watchPart(child: ChildProcess, options: PartOptions & { identity: ProcessIdentity; logStart: number }): Part {
  const { name, logPath, logStart, identity, pidPath, stopSignals = ['SIGTERM', 'SIGKILL'], stopDeadlineMs } = options;
  let ending: string | undefined;
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      ending = signal ?? `exit code ${code}`;
      if (pidPath !== undefined) rmSync(pidPath, { force: true });
      resolve(ending);
    });
  });
  const part: Part = {
    name,
    process: identity,
    logPath,
    logStart,
    exited,
    assertRunning: () => {
      if (ending !== undefined) throw new PartEnded(part, ending);
    },
    stop: async () => {
      // Unreferenced, so that a part keeps nobody alive who forgets it; but who waits for its end must live to see it.
      child.ref();
      await endProcess(identity, stopSignals, stopDeadlineMs);
      await exited;
    },
  };
  return part;
}

/** @throws the reason of `signal` when the start is given up, Error with the end of the log when the part has ended. */
export function assertGoingOn(part: Part, signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
  part.assertRunning();
}

/** A part ended that should run. */
export class PartEnded extends Error {
  override readonly name = 'PartEnded';
  constructor(
    readonly part: Part,
    readonly ending: string,
  ) {
    super(`${part.name} ended (${ending})`);
  }
}

const TAIL_BYTES = 4096;
const TAIL_LINES = 12;

/** @returns the last lines of what was written to `path` since byte `from`. */
export async function readLogTail(path: string, from = 0): Promise<string> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const start = Math.max(from, size - TAIL_BYTES, 0);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}

/** One older log is kept beside the current one. */
function rotateLog(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_LIMIT) renameSync(path, `${path}.1`);
}
