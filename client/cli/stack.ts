import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoints } from '../config/endpoints';
import { loadConfig, type ResolvedConfig } from '../config/load';
import { packageRoot } from '../config/package-root';
import { stackEventSchema, type StackEvent } from '../config/stack-events';
import { exitCodes } from '../errors';
import { formatDuration } from '../../workflows/contract/words';
import { note } from './output/print';
import { showRecord, type OutputOptions } from './output/show';
import { formatRecord } from './output/table';

export interface StackOptions extends OutputOptions {
  config?: string;
  data?: string;
  detach?: boolean;
}

/** In the foreground until Ctrl-C or until a part ends; the stack goes with this command. @returns the exit code. */
export async function up({ config, data, detach = false, ...printing }: StackOptions): Promise<number> {
  const loaded = loadConfig({ path: config, data });
  let outcome: Outcome = { kind: 'starting' };
  const stack = startStackProcess({
    command: 'up',
    dataDirectory: loaded.dataDirectory,
    config: loaded.path,
    bound: !detach,
    onEvent: (event) => {
      outcome = show(event, { printing, detach }) ?? outcome;
      if (event.kind === 'ready') note(describeStanding(loaded.config));
      if (outcome.kind === 'ready' && detach) release(stack);
    },
  });
  const stopForwarding = forwardSignals(stack);
  const exitCode = await (detach ? Promise.race([stack.ended, released(stack)]) : stack.ended);
  stopForwarding();
  return finish(outcome, exitCode);
}

type Outcome = { kind: 'starting' } | { kind: 'ready' } | { kind: 'failed'; exitCode: number };

function show(
  event: StackEvent,
  { printing, detach }: { printing: OutputOptions; detach: boolean },
): Outcome | undefined {
  switch (event.kind) {
    case 'line':
      note(event.text.split('\n'));
      return undefined;
    case 'ready':
      showRecord(publicEndpoints(event.endpoints), { id: 'dataDirectory', text: formatEndpoints }, printing);
      note(hint(event, detach));
      return { kind: 'ready' };
    case 'failed':
      note(event.message.split('\n'));
      return { kind: 'failed', exitCode: event.exitCode };
  }
}

function hint({ already, endpoints }: Extract<StackEvent, { kind: 'ready' }>, detach: boolean): string {
  if (already) return `already running (process ${endpoints.supervisor.pid}); \`ivc down\` stops it`;
  return detach ? 'ready; `ivc down` stops it' : 'ready; Ctrl-C stops it';
}

function finish(outcome: Outcome, exitCode: number): number {
  if (outcome.kind === 'failed') return outcome.exitCode;
  if (exitCode !== 0 && outcome.kind === 'ready')
    note('the stack ended unexpectedly; `ivc up` starts it again, and nothing is lost');
  if (exitCode !== 0 && outcome.kind === 'starting')
    note('the stack could not be started; logs/supervisor.log in the data directory says why');
  return exitCode === 0 ? exitCodes.done : exitCodes.failed;
}

/** Lets the detached stack go on without us. */
function release({ child }: StackProcess): void {
  child.unref();
  if (child.connected) child.disconnect();
}

async function released({ child }: StackProcess): Promise<number> {
  await new Promise((resolve) => child.once('disconnect', resolve));
  return exitCodes.done;
}

/** A second signal is passed on too: then the stack does not wait for its parts. */
function forwardSignals({ child }: StackProcess): () => void {
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of forwarded) process.on(signal, forward);
  return () => {
    for (const signal of forwarded) process.off(signal, forward);
  };
}

const forwarded = ['SIGINT', 'SIGTERM'] as const;

/** Returns when nothing of the stack runs any more. @returns the exit code. */
export async function down({ config, data }: StackOptions): Promise<number> {
  const { path, dataDirectory } = loadConfig({ path: config, data });
  const { ended } = startStackProcess({
    command: 'down',
    dataDirectory,
    config: path,
    bound: false,
    onEvent: (event) => {
      if (event.kind === 'line') note(event.text.split('\n'));
      if (event.kind === 'failed') note(event.message.split('\n'));
    },
  });
  return (await ended) === 0 ? exitCodes.done : exitCodes.failed;
}

/** Evictors and schedules in one line, as the worker has set them up. */
function describeStanding({ schedules }: Pick<ResolvedConfig, 'schedules'>): string {
  const { evict, refresh, reconcile } = schedules;
  const at = (when: string | number): string => {
    if (typeof when === 'number') return `every ${formatDuration(when)}`;
    return when === 'off' ? 'off' : `at ${when} UTC`;
  };
  const sweeps = evict === 'off' ? 'off' : `every ${formatDuration(evict)}`;
  return `scheduled: eviction sweeps ${sweeps}, refresh ${at(refresh)}, reconcile ${at(reconcile)}`;
}

/** Where everything listens, for people: the database's URL stays in `endpoints.json`, since it holds a password. */
function formatEndpoints({ temporal, database, images, worker, api, dataDirectory }: Endpoints): string[] {
  return formatRecord({
    'Temporal UI': temporal.uiUrl,
    Temporal: `${temporal.address}, namespace ${temporal.namespace}`,
    'Temporal metrics': temporal.metricsUrl,
    Images: images.endpoint,
    'Block storage': api?.url,
    PostgreSQL: withoutPassword(database.url),
    'Worker metrics': worker?.metricsUrl,
    'Block-storage metrics': api?.metricsUrl,
    Data: dataDirectory,
    Logs: join(dataDirectory, 'logs'),
  });
}

/** For programs: as `endpoints.json`, without the password. */
function publicEndpoints(endpoints: Endpoints): Endpoints {
  return { ...endpoints, database: { ...endpoints.database, url: withoutPassword(endpoints.database.url) } };
}

function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^:@/]*):[^@/]*@/, '$1@');
}

interface StackProcessOptions {
  command: 'up' | 'down';
  dataDirectory: string;
  /** The configuration file. */
  config: string;
  /** Whether the stack stops when this process ends. */
  bound: boolean;
  onEvent: (event: StackEvent) => void;
}

interface StackProcess {
  child: ChildProcess;
  /** Exit code, or 1 after a signal that was not ours. */
  ended: Promise<number>;
}

/**
 * Starts the program that runs the embedded stack: by its path, because the library loads nothing of `worker/`. It gets
 * a session of its own, so that
 * a Ctrl-C of the terminal reaches it only through us, and writes to its own log, so that it does not depend on us.
 */
function startStackProcess({ command, dataDirectory, config, bound, onEvent }: StackProcessOptions): StackProcess {
  const logs = join(dataDirectory, 'logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const log = openSync(join(logs, 'supervisor.log'), 'a', 0o600);
  const script = join(packageRoot(), 'dist', 'worker', 'stack', 'main.js');
  const args = [
    '--enable-source-maps',
    script,
    command,
    '--data',
    dataDirectory,
    '--config',
    config,
    ...(bound ? ['--bound'] : []),
  ];
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log, 'ipc'] });
  closeSync(log);
  child.on('message', (message) => {
    const event = stackEventSchema.safeParse(message);
    if (event.success) onEvent(event.data);
  });
  return { child, ended: endOf(child) };
}

function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
