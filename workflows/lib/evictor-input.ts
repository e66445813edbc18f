import { workflowInfo } from '@temporalio/workflow';
import { isRecord } from '../contract/is-record';
import { LEAST_SWEEP_INTERVAL_MS } from '../contract/cache-limits';
import { evictorSignalNames, type EvictImageCacheInput, type EvictorState } from '../contract/eviction';
import { quote } from '../contract/words';
import { backendNamePattern, type BackendName } from '../contract/ids';
import { siblingQueues } from '../contract/names';
import { fail } from './fail';

export interface EvictorInput {
  backend: BackendName;
  /** Undefined: the worker's configuration decides. */
  sweepIntervalMs: number | null | undefined;
  maxHistoryEvents: number;
  state: EvictorState | undefined;
}

const DEFAULT_MAX_HISTORY_EVENTS = 4000;
/** A run must come to do something before it goes on as a new one. */
const LEAST_HISTORY_EVENTS = 20;
const fields: (keyof EvictImageCacheInput)[] = ['backend', 'sweepIntervalMs', 'maxHistoryEvents', 'state'];

/**
 * Any Temporal client may have started this run: its input is checked before it is used. @throws InvalidRequest (ends
 * the run).
 */
export function parseEvictorInput(given: unknown = {}): EvictorInput {
  if (!isRecord(given)) return refuse('input', given, `an object with fields of ${fields.join(', ')}`);
  const unknown = Object.keys(given).find((name) => !fields.some((field) => field === name));
  if (unknown !== undefined) return refuse(unknown, given[unknown], `no such field, only ${fields.join(', ')}`);
  const { backend = backendOfId(), sweepIntervalMs, maxHistoryEvents = DEFAULT_MAX_HISTORY_EVENTS, state } = given;
  if (typeof backend !== 'string' || !backendNamePattern.test(backend))
    return refuse('backend', backend, 'the name of a backend');
  if (sweepIntervalMs !== undefined && sweepIntervalMs !== null && !isAtLeast(sweepIntervalMs, LEAST_SWEEP_INTERVAL_MS))
    return refuse('sweepIntervalMs', sweepIntervalMs, `whole milliseconds from ${LEAST_SWEEP_INTERVAL_MS}, or null`);
  if (!isAtLeast(maxHistoryEvents, LEAST_HISTORY_EVENTS))
    return refuse('maxHistoryEvents', maxHistoryEvents, `a whole number from ${LEAST_HISTORY_EVENTS}`);
  if (state !== undefined && !isState(state))
    return refuse('state', state, 'the state that an earlier run carried over, or nothing');
  return { backend: backend as BackendName, sweepIntervalMs, maxHistoryEvents, state };
}

function backendOfId(): string | undefined {
  const { workflowId, taskQueue } = workflowInfo();
  const { prefix } = siblingQueues(taskQueue);
  const ofStack = workflowId.startsWith(prefix) ? workflowId.slice(prefix.length) : workflowId;
  return /^evict\/(.+)$/.exec(ofStack)?.[1];
}

function refuse(field: string, value: unknown, allowed: string): never {
  return fail('InvalidRequest', { field, value: quote(value), allowed });
}

function isState(value: unknown): value is EvictorState {
  if (!isRecord(value)) return false;
  const { paused, lastSweepAt, sweeps, results, queue } = value;
  return (
    typeof paused === 'boolean' &&
    (lastSweepAt === null || typeof lastSweepAt === 'string') &&
    isAtLeast(sweeps, 0) &&
    Array.isArray(results) &&
    results.every(isRecord) &&
    Array.isArray(queue) &&
    queue.every((item) => isRecord(item) && evictorSignalNames.some((name) => name === item['signal']))
  );
}

function isAtLeast(value: unknown, least: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least;
}
