import { setTimeout as sleep } from 'node:timers/promises';
import { findEndpoints, removeEndpoints, writeEndpoints, type Endpoints } from '../../client/config/endpoints';
import { removeLastEnding, writeLastEnding } from '../../client/config/last-ending';
import type { LoadedConfig } from '../../client/config/load';
import type { StackEvent } from '../../client/config/stack-events';
import { ensureLayout, stopOrder, type StackLayout } from './stack-layout';
import { endLeftovers } from './stop-stack';
import { PartEnded, readLogTail, type Part } from './part';
import { acquireProcessLock, describeHolder } from '../../activities/process-lock';
import { startParts, type StartAgain, type StartContext } from './start-parts';
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
  removeLastEnding(layout.data);
  const watch = watchParts(stop, say);
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
    if (stop.aborted) return;
    if (error instanceof PartEnded) noteEnding(layout, error);
    throw await explain(error);
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

function noteEnding({ data }: StackLayout, { part, ending }: PartEnded): void {
  writeLastEnding(data, { at: new Date().toISOString(), part: part.name, ending, logPath: part.logPath });
}

interface PartsWatch {
  /** Those that run, or have just ended. */
  parts: Set<Part>;
  add: StartContext['onStarted'];
  /** Aborted when the stack is to stop or when a part has ended for good. */
  ended: AbortSignal;
}

/** Starts of a part in a row, each of which ended soon or failed. */
const MAX_RESTARTS = 5;
const FIRST_PAUSE_MS = 500;
/** A part that has run for so long begins with a short pause again. */
const STEADY_MS = 60_000;

function watchParts(stop: AbortSignal, say: Say): PartsWatch {
  const death = new AbortController();
  const ended = AbortSignal.any([stop, death.signal]);
  const parts = new Set<Part>();
  const add: PartsWatch['add'] = (part, startAgain) => void watch(part, startAgain, 0);
  async function watch(part: Part, startAgain: StartAgain | undefined, restarts: number): Promise<void> {
    parts.add(part);
    const startedAtMs = performance.now();
    const ending = await part.exited;
    const before = performance.now() - startedAtMs > STEADY_MS ? 0 : restarts;
    const next = startAgain && (await restart(part, ending, { startAgain, restarts: before }));
    if (next === undefined) return death.abort(new PartEnded(part, ending));
    parts.delete(part);
    await watch(next.part, startAgain, next.restarts);
  }
  /** With a pause that doubles. @returns undefined when the stack stops, or when that many starts were in vain. */
  async function restart(
    { name }: Part,
    ending: string,
    { startAgain, restarts: before }: { startAgain: StartAgain; restarts: number },
  ): Promise<{ part: Part; restarts: number } | undefined> {
    for (let restarts = before + 1; restarts <= MAX_RESTARTS && !ended.aborted; restarts += 1) {
      const pauseMs = FIRST_PAUSE_MS * 2 ** (restarts - 1);
      say(name, `has ended (${ending}); it is started again in ${pauseMs} ms`);
      try {
        await sleep(pauseMs, undefined, { signal: ended });
        return { part: await startAgain(), restarts };
      } catch (error) {
        if (!ended.aborted) say(name, errorMessage(error));
      }
    }
    return undefined;
  }
  return { parts, add, ended };
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

async function stopParts(parts: ReadonlySet<Part>, say: Say): Promise<void> {
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
