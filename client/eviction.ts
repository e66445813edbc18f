import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/client';
import type {
  CacheLimitValues,
  EvictImageCacheInput,
  EvictionResult,
  EvictionStatus,
  EvictorSignalName,
  EvictSignal,
  PinTarget,
  PlainSignal,
} from '../workflows/contract/eviction';
import { parseEvictorSignal } from '../workflows/contract/eviction-signals';
import type { BackendName } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import { isOpenRun } from '../workflows/contract/run-status';
import type { ImageVolumeCache } from './connection';
import { ImageVolumeCacheError } from './errors';
import { expectBackend } from './reads';
import {
  backendOf,
  interruptible,
  refuseForeignRun,
  reportingErrors,
  type Waited,
  type RunOptions,
} from './run-workflow';

/** A request that the evictor has got, whoever waits for its answer. */
export interface SentToEvictor {
  backend: BackendName;
  workflowId: string;
  requestId: string;
}
export type AnsweredByEvictor = SentToEvictor & { result: EvictionResult };

export interface EvictorOptions extends RunOptions {
  /** Default: the default backend of the configuration. */
  backend?: string;
}
/** The answer of a verb; without `result` if the caller did not wait. */
export type EvictorAnswer = SentToEvictor & { result?: EvictionResult };

type EvictorVerb<Request extends object> = <Options extends EvictorOptions = { wait?: true }>(
  cache: ImageVolumeCache,
  ...given: Partial<Request> extends Request
    ? [request?: Request, options?: Options]
    : [request: Request, options?: Options]
) => Promise<Waited<SentToEvictor, AnsweredByEvictor, Options>>;

/*
 * Each verb sends one signal to the backend's evictor, which is started where none runs, and waits for its answer. The
 * same `requestId` is one request. A refused or failed request is an answer, not an error.
 * @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable`, `WaitInterrupted`.
 */

/** Gives entries up: by name, or so many bytes or entries by rank. Undo: none, the next create populates again. */
export const evict = verb<EvictSignal>('evict');

/** Enforces limits, watermarks, idle age and generations now. */
export const sweep = verb<PlainSignal>('sweep');

/** Keeps ready entries from being victims. Undo: `unpin`. */
export const pin = verb<PinTarget & { by?: string }>('pin');
export const unpin = verb<PinTarget & { by?: string }>('unpin');

/** Sets limits; a sweep follows. From then on the configuration leaves what was set alone. */
export const setLimits = verb<{ limits: Partial<CacheLimitValues>; by?: string }>('setLimits');

/**
 * Lets the next create of refused bytes inspect them again. @param request.cacheKey the short key, or its beginning.
 */
export const forgetRefusal = verb<{ cacheKey: string; by?: string }>('forgetRefusal');

/** Stops periodic sweeps; requests are still served. Undo: `resumeEviction`. */
export const pauseEviction = verb<PlainSignal>('pause');
export const resumeEviction = verb<PlainSignal>('resume');

function verb<Request extends object>(name: EvictorSignalName): EvictorVerb<Request> {
  const send = (cache: ImageVolumeCache, request: object = {}, options: EvictorOptions = {}) =>
    sendRequest(cache, { name, request }, options);
  return send as EvictorVerb<Request>;
}

/**
 * @returns what the evictor is doing and what it has answered. @throws ImageVolumeCacheError `WorkflowNotFound` where
 * none was ever started.
 */
export async function evictionStatus(
  cache: ImageVolumeCache,
  { backend }: { backend?: string } = {},
): Promise<EvictionStatus> {
  await expectBackend(cache, backend);
  const workflowId = cache.queues.ids.evict(backendOf(cache, backend));
  return await reportingErrors(cache, workflowId, async (client) => {
    const query = (): Promise<EvictionStatus> => client.workflow.getHandle(workflowId).query<EvictionStatus>('status');
    return await client.withDeadline(Date.now() + STATUS_TIMEOUT_MS, async () => {
      await refuseForeignRun(client, cache, workflowId);
      return await query();
    });
  });
}

const STATUS_TIMEOUT_MS = 10_000;
/** A read of the answers may take this long; if no worker answers, the next one follows. */
const POLL_TIMEOUT_MS = 2000;
const FIRST_POLL_MS = 100;
const LONGEST_POLL_MS = 1000;

/** Works without a worker that has started the evictor before. */
async function sendRequest(
  cache: ImageVolumeCache,
  { name, request }: { name: EvictorSignalName; request: { requestId?: string } & object },
  options: EvictorOptions,
): Promise<EvictorAnswer> {
  const backend = backendOf(cache, options.backend);
  const requestId = request.requestId ?? randomUUID();
  const given = { ...definedOf(request), requestId };
  const parsed = parseEvictorSignal(name, [given]);
  if (parsed.kind === 'refused') throw new ImageVolumeCacheError({ type: 'InvalidRequest', message: parsed.why });
  const workflowId = cache.queues.ids.evict(backend);
  const sent: SentToEvictor = { backend, workflowId, requestId };
  await expectBackend(cache, backend);
  return await reportingErrors(cache, workflowId, async (client) => {
    await refuseForeignRun(client, cache, workflowId);
    await client.workflow.signalWithStart<(input: EvictImageCacheInput) => Promise<void>, [object]>(
      workflowTypes.evictImageCache,
      {
        workflowId,
        taskQueue: cache.queues.control,
        args: [{ backend }],
        signal: name,
        signalArgs: [given],
        staticSummary: `eviction on backend ${backend}`,
      },
    );
    if (options.wait === false) return sent;
    return { ...sent, result: await untilAnswered(client, sent, options.signal) };
  });
}

/** Polls the evictor, which keeps its answers for a while. */
async function untilAnswered(client: Client, sent: SentToEvictor, signal?: AbortSignal): Promise<EvictionResult> {
  const poll = async (): Promise<EvictionResult> => {
    for (let delayMs = FIRST_POLL_MS; ; delayMs = Math.min(2 * delayMs, LONGEST_POLL_MS)) {
      const found = await findAnswer(client, sent);
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      signal?.throwIfAborted();
    }
  };
  return await interruptible(client, { workflowId: sent.workflowId, signal }, poll);
}

/** @returns undefined while there is no answer. A run that ended without one says why. */
async function findAnswer(
  client: Client,
  { workflowId, requestId }: SentToEvictor,
): Promise<EvictionResult | undefined> {
  const handle = client.workflow.getHandle(workflowId);
  const status = await bounded(client, () => handle.query<EvictionStatus>('status'));
  const answer = status?.results.find((result) => result.requestId === requestId);
  if (answer !== undefined) return answer;
  // A query fails where no worker answers; this one only where the server does not.
  const state = (await handle.describe()).status.name;
  if (state === 'FAILED' || state === 'TERMINATED') await handle.result();
  const isForgotten =
    state !== undefined &&
    isOpenRun(state) &&
    status?.waiting === status?.waitingFor.length &&
    status?.waitingFor.includes(requestId) === false;
  if (!isForgotten) return undefined;
  const again = await bounded(client, () => handle.query<EvictionStatus>('status'));
  const late = again?.results.find((result) => result.requestId === requestId);
  if (late !== undefined || again === undefined || again.waitingFor.includes(requestId)) return late;
  throw new ImageVolumeCacheError({
    type: 'Unexpected',
    message: `the answer to request ${requestId} is lost: more than ${again.results.length} others were answered since`,
    workflowId,
  });
}

async function bounded<T>(client: Client, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await client.withDeadline(Date.now() + POLL_TIMEOUT_MS, work);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw error;
    return undefined;
  }
}

function definedOf(request: object): object {
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
}
