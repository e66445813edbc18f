import { setTimeout as sleep } from 'node:timers/promises';
import { findEndpoints, removeEndpoints, writeEndpoints, type Endpoints } from '../../client/config/endpoints';
import type { LoadedConfig } from '../../client/config/load';
import type { StackEvent } from '../../client/config/stack-events';
import { ensureLayout, stopOrder, type StackLayout } from './stack-layout';
import { endLeftovers } from './stop-stack';
import { PartEnded, readLogTail, type Part } from './part';
import { acquireProcessLock, describeHolder } from '../../activities/process-lock';
import { startParts } from './start-parts';
import { errorMessage } from '../../lib/error-message';

export interface SuperviseOptions {
  loaded: LoadedConfig;
  report: (event: StackEvent) => void;
  /** Aborted to stop the stack; the reason is said. */
  stop: AbortSignal;
}

/**
 * Runs the stack of one data directory until `stop` is aborted or a part ends; then stops everything, the last started
 * first. When another process runs it already, says so and returns.
 * @throws what kept it from starting, or PartEnded; nothing runs any more then.
 */
export async function superviseStack({ loaded, report, stop }: SuperviseOptions): Promise<void> {
  const layout = ensureLayout(loaded.dataDirectory);
  const say = (part: string, text: string) => report({ kind: 'line', text: `${part.padEnd(NAME_WIDTH)} ${text}` });
  const claim = await claimStack(layout, { say, stop });
  if (claim.kind === 'given-up') return;
  if (claim.kind === 'running') return report({ kind: 'ready', endpoints: claim.endpoints, already: true });
  const watch = watchParts(stop);
  try {
    await recover(layout, say);
    const endpoints = await startParts({ loaded, layout, say, onStarted: watch.add, signal: watch.ended });
    watch.ended.throwIfAborted();
    writeEndpoints(endpoints);
    report({ kind: 'ready', endpoints, already: false });
    await aborted(watch.ended);
    watch.ended.throwIfAborted();
  } catch (error) {
    say('stack', `stopping: ${errorMessage(error)}`);
    if (!stop.aborted) throw await explain(error);
  } finally {
    removeEndpoints(layout.data);
    await stopParts(watch.parts, say);
    claim.release();
  }
}

const NAME_WIDTH = 9;
const CLAIM_DEADLINE_MS = 60 * 60_000;
const CLAIM_INTERVAL_MS = 100;

type Say = (part: string, text: string) => void;
type Claim =
  { kind: 'claimed'; release: () => void } | { kind: 'running'; endpoints: Endpoints } | { kind: 'given-up' };

/** Waits while another process is still starting or stopping the stack, which a build of the server can make long. */
async function claimStack(layout: StackLayout, { say, stop }: { say: Say; stop: AbortSignal }): Promise<Claim> {
  const deadline = performance.now() + CLAIM_DEADLINE_MS;
  let told = false;
  for (;;) {
    if (stop.aborted) return { kind: 'given-up' };
    const lock = await acquireProcessLock(layout.lock);
    if (lock.kind === 'acquired') return { kind: 'claimed', release: lock.release };
    const endpoints = findEndpoints(layout.data);
    if (endpoints) return { kind: 'running', endpoints };
    const holder = describeHolder(lock.by);
    if (performance.now() > deadline) throw new Error(`${holder} has been starting or stopping this stack for an hour`);
    if (!told) say('stack', `${holder} is starting or stopping it; waiting`);
    told = true;
    await sleep(CLAIM_INTERVAL_MS);
  }
}

async function recover(layout: StackLayout, say: Say): Promise<void> {
  const ended = await endLeftovers(layout);
  if (ended.length > 0) say('stack', `ended the leftovers of an earlier run: ${ended.join(', ')}`);
}

interface PartsWatch {
  parts: Part[];
  add: (part: Part) => void;
  /** Aborted when the stack is to stop or when a part has ended. */
  ended: AbortSignal;
}

function watchParts(stop: AbortSignal): PartsWatch {
  const death = new AbortController();
  const parts: Part[] = [];
  const add = (part: Part) => {
    parts.push(part);
    void part.exited.then((ending) => death.abort(new PartEnded(part, ending)));
  };
  return { parts, add, ended: AbortSignal.any([stop, death.signal]) };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  // An event listener alone does not keep a process alive.
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  clearInterval(keepAlive);
}

/** A part that did not tell why it ended has told its log. */
async function explain(error: unknown): Promise<unknown> {
  if (!(error instanceof PartEnded)) return error;
  const tail = await readLogTail(error.part.logPath, error.part.logStart);
  return new Error(`${error.message}; the end of ${error.part.logPath}:\n${tail.replaceAll(/^/gm, '  ')}`, {
    cause: error,
  });
}

async function stopParts(parts: readonly Part[], say: Say): Promise<void> {
  const inOrder = [...parts].sort((left, right) => stopOrder.indexOf(left.name) - stopOrder.indexOf(right.name));
  for (const part of inOrder) {
    const started = performance.now();
    try {
      await part.stop();
      say(part.name, `stopped (${Math.round(performance.now() - started)} ms)`);
    } catch (error) {
      say(part.name, errorMessage(error));
    }
  }
}
