import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { traced } from '../lib/traced';
import { KiB, MiB } from '../workflows/contract/bytes';
import { Failure, isFailure } from '../workflows/contract/failures';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_MAX_OUTPUT_BYTES = MiB;
const MAX_STDERR_BYTES = 64 * KiB;
const MAX_CLEANED_STDERR_CHARACTERS = 8000;
const MAX_REPORTED_STDERR_CHARACTERS = 2000;
/** How long pipes may outlive the process that was started before what still holds them is killed. */
const PIPE_GRACE_MS = 1000;
const KILLED_AT_DEADLINE = 'killed at its deadline';

/** Resource limits of the child, set with `prlimit` (util-linux) where it is installed. */
export interface CommandLimits {
  cpuSeconds?: number;
  addressSpaceBytes?: number;
  /** Largest file the child may write. */
  fileSizeBytes?: number;
  openFiles?: number;
}

export interface CommandOptions {
  timeoutMs: number;
  limits?: CommandLimits;
  /** `argv` stands before the tool's own arguments: programs that take rights away. Default: the tool has this process' rights. */
  confinement?: { argv: readonly string[] };
  /** Open files that the tool inherits as its descriptors 3, 4, …; see `withHandedOver`. */
  descriptors?: readonly number[];
  /** Aborted: the whole process group is killed, reaped, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** More on stdout than this is a failure. Default: 1 MiB. */
  maxOutputBytes?: number;
  /** Exit codes that are answers, not failures. Default: 0. */
  answers?: readonly number[];
  /** An open file that is the tool's stdin. Default: nothing. */
  input?: number;
  /** Gets a pipe to the tool's stdin, which it must end; in place of `input`. */
  onStarted?: (stdin: Writable) => void;
  /** Reads all of stdout as bytes, in its own time; nothing of it is kept or counted then. When it throws, the tool is killed and that is thrown. */
  consume?: (stdout: Readable) => Promise<void>;
  /** Called with each piece of stdout as it comes. */
  onOutput?: (chunk: string) => void;
}

export interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs a foreign tool: the only place that does. No shell, a fixed locale and time zone, nothing of our environment but PATH, a process group of its own.
 * Returns or throws only after the child was reaped.
 * @throws Failure ToolFailed (not installed, a bad exit, a signal, the deadline, too much output); the signal's reason when aborted.
 */
export async function runCommand(
  tool: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const span = () => ({ name: tool, attributes: { 'process.executable.name': tool } });
  return await traced(span, async ({ say }) => {
    const onExit = (exit: number): void => say({ 'process.exit.code': exit });
    return await runUntraced(tool, args, { ...options, onExit });
  });
}

async function runUntraced(
  tool: string,
  args: readonly string[],
  { onExit, ...options }: CommandOptions & { onExit: (code: number) => void },
): Promise<CommandResult> {
  options.signal?.throwIfAborted();
  const [file = tool, ...prefixed] = guardedArgv([getTool(tool), ...args], options);
  const child = spawn(file, prefixed, {
    detached: true,
    shell: false,
    stdio: [
      options.onStarted === undefined ? (options.input ?? 'ignore') : 'pipe',
      'pipe',
      'pipe',
      ...(options.descriptors ?? []),
    ],
    env: minimalEnvironment(),
  });
  listeners.forEach((listener) => listener(tool));
  // A tool that is gone reads no more: its exit tells why.
  child.stdin?.on('error', () => undefined);
  if (child.stdin !== null) options.onStarted?.(child.stdin);
  const { exit, stdout, stderr, refused } = await superviseChild(child, options);
  if (typeof exit === 'number') onExit(exit);
  options.signal?.throwIfAborted();
  if (refused !== undefined) throw refused.cause;
  if (typeof exit === 'number' && (options.answers ?? [0]).includes(exit))
    return { exitCode: exit, stdout, stderr: cleanStderr(stderr) };
  throw new Failure('ToolFailed', {
    tool,
    exit: typeof exit === 'number' ? `exit ${exit}` : exit,
    stderr: cleanStderr(stderr),
  });
}

/** @returns whether a tool was killed since it took longer than its `timeoutMs`. */
export function isDeadline(error: unknown): boolean {
  return isFailure(error, 'ToolFailed') && error.details.exit.startsWith(KILLED_AT_DEADLINE);
}

/** Hears the name of every tool that this process starts through `runCommand`. */
export function onCommandStarted(listener: (tool: string) => void): void {
  listeners.push(listener);
}
const listeners: ((tool: string) => void)[] = [];

/** @returns the absolute path of `tool`, searched in PATH, or undefined when it is not installed. */
export function findTool(tool: string): string | undefined {
  const found = searchPath()
    .split(delimiter)
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, tool));
  return found.find(isExecutable);
}

/** @returns what a tool wrote on stderr, bounded and with directories taken out of paths: it may be shown to users. */
export function cleanStderr(stderr: string): string {
  return stderr
    .slice(0, MAX_CLEANED_STDERR_CHARACTERS)
    .replaceAll(/(?:file:)?\/(?:[^\s'":,/]+\/)+([^\s'":,/]*)/g, '$1')
    .trim()
    .slice(0, MAX_REPORTED_STDERR_CHARACTERS);
}

function getTool(tool: string): string {
  const path = findTool(tool);
  if (path === undefined)
    throw new Failure('ToolFailed', { tool, exit: 'not installed', stderr: `${tool} is not on PATH` });
  return path;
}

function searchPath(): string {
  return process.env['PATH'] || DEFAULT_PATH;
}

function minimalEnvironment(): NodeJS.ProcessEnv {
  return { LC_ALL: 'C', TZ: 'UTC', PATH: searchPath() };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** `prlimit` sets the limits and becomes what follows by exec: no second process, the same pid. */
function guardedArgv(argv: readonly string[], { limits = {}, confinement }: CommandOptions): string[] {
  const flags = Object.entries({
    cpu: limits.cpuSeconds,
    as: limits.addressSpaceBytes,
    fsize: limits.fileSizeBytes,
    nofile: limits.openFiles,
  }).flatMap(([flag, value]) => (value === undefined ? [] : [`--${flag}=${value}`]));
  const confined = [...(confinement?.argv ?? []), ...argv];
  const prlimit = flags.length === 0 ? undefined : findTool('prlimit');
  return prlimit === undefined ? confined : [prlimit, ...flags, '--core=0', '--', ...confined];
}

interface ChildEnd {
  /** The exit code, or why there is none, for people. */
  exit: number | string;
  /** Error that the consumer of its output threw. */
  refused?: { cause: unknown };
  stdout: string;
  stderr: string;
}

/** Collects output, kills at the deadline, and answers when the child is reaped and its pipes are closed. */
async function superviseChild(child: ChildProcess, options: CommandOptions): Promise<ChildEnd> {
  let killed: string | undefined;
  const kill = (why: string): void => {
    killed ??= why;
    killGroup(child);
  };
  const onAbort = (): void => kill('cancelled');
  const deadline = setTimeout(() => kill(`${KILLED_AT_DEADLINE} of ${options.timeoutMs} ms`), options.timeoutMs);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const output = collectOutput(child, options, kill);
  const consuming = consumeOutput(child, options, kill);
  try {
    const exit = await untilReaped(child, options.consume !== undefined);
    return { exit: killed ?? exit, ...output, ...(await consuming) };
  } finally {
    clearTimeout(deadline);
    options.signal?.removeEventListener('abort', onAbort);
  }
}

function collectOutput(
  child: ChildProcess,
  options: CommandOptions,
  kill: (why: string) => void,
): { stdout: string; stderr: string } {
  const { maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES, onOutput } = options;
  const output = { stdout: '', stderr: '' };
  let stdoutBytes = 0;
  if (options.consume === undefined)
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      stdoutBytes += Buffer.byteLength(chunk);
      if (stdoutBytes > maxOutputBytes) return kill(`killed after more than ${maxOutputBytes} bytes of output`);
      output.stdout += chunk;
      onOutput?.(chunk);
    });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    if (output.stderr.length < MAX_STDERR_BYTES) output.stderr += chunk;
  });
  return output;
}

/** Settles when the consumer has; never rejects, since it is awaited only when the child is reaped. */
async function consumeOutput(
  { stdout }: ChildProcess,
  { consume }: CommandOptions,
  kill: (why: string) => void,
): Promise<Pick<ChildEnd, 'refused'>> {
  if (consume === undefined || stdout === null) return {};
  try {
    await consume(stdout);
    return {};
  } catch (cause) {
    kill('killed, since its output could not be stored');
    stdout.destroy();
    return { refused: { cause } };
  }
}

/** Processes that the child left behind may hold its pipes: they are given a moment, then killed with the group. A consumer reads to the end. */
function untilReaped(child: ChildProcess, isConsumed: boolean): Promise<number | string> {
  return new Promise((resolve) => {
    let pipeTimer: NodeJS.Timeout | undefined;
    child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    child.once('exit', () => {
      pipeTimer = setTimeout(() => {
        killGroup(child);
        if (!isConsumed) child.stdout?.destroy();
        child.stderr?.destroy();
      }, PIPE_GRACE_MS);
    });
    child.once('close', (code, signal) => {
      clearTimeout(pipeTimer);
      resolve(code ?? `signal ${signal}`);
    });
  });
}

/** The child leads its own group (`detached`), so that what it has started dies with it. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}
