import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { findBackend } from '../../db/backends';
import { changeLimits } from '../../db/backends';
import type { EventSource } from '../../db/events';
import { pinEntries } from '../../db/evictions/evictor';
import { clearRefusal } from '../../db/flights';
import { listed, quote } from '../../workflows/contract/words';
import type { CacheLimitValues, EvictionResult, PinTarget } from '../../workflows/contract/eviction';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import { describeAmbiguity } from '../../workflows/contract/key-prefix';
import { plural } from '../../workflows/contract/words';
import type { ControlDependencies } from '../dependencies';
import { findRun, workflowExecution } from '../kit/runs';
import { findWholeKey } from './resolve-order';

/* Changes by an operator's signal to the evictor, beside evictions. */

type ChangeOutcome = Pick<EvictionResult, 'outcome' | 'summary'>;

export interface OperatorChange {
  backend: BackendName;
  by?: string;
  /** Undefined: the evictor is older. */
  requestId?: string;
}

/** One run of an evictor answers many requests: each is told of by itself. */
function sourceOf({ requestId, by }: OperatorChange): EventSource {
  const { workflowId, runId } = workflowExecution();
  return { by, requestId, workflowId, runId: requestId === undefined ? runId : `${runId}/${requestId}` };
}

const UNNAMED = 'an operator';

/** Pins or unpins every ready entry that is meant. Idempotent. Undo: the opposite. */
export function createApplyPin(deps: ControlDependencies) {
  return async function applyPin(
    change: OperatorChange & { target: PinTarget; pinned: boolean },
  ): Promise<ChangeOutcome> {
    const { backend, target: given, pinned, requestId, by = UNNAMED } = change;
    const { workflowId } = workflowExecution();
    await checkNotLate(deps);
    const { target, refusal } = await findWholeKey(deps.database, { backend, target: given });
    if (target === undefined) return { outcome: 'refused', summary: refusal };
    const { matched, changed } = await pinEntries(deps.database, {
      backend,
      target,
      pinned,
      by,
      requestId,
      workflowId,
    });
    const [[field, value] = []] = Object.entries(given);
    const done = pinned ? 'pinned' : 'unpinned';
    if (matched === 0)
      return { outcome: 'nothing-to-do', summary: `no ready entry of backend ${backend} has ${field} ${value}` };
    if (changed === 0) return { outcome: 'nothing-to-do', summary: `${entries(matched)} ${done} already` };
    return { outcome: 'done', summary: `${entries(changed)} ${done} by ${by}` };
  };
}

function entries(count: number): string {
  return plural(count, 'entry was', 'entries were');
}

/**
 * Sets limits on behalf of an operator: from then on the configuration leaves them alone. Idempotent.
 * @throws InvalidRequest (final).
 */
export function createApplyLimits(deps: ControlDependencies) {
  return async function applyLimits(
    change: OperatorChange & { limits: Partial<CacheLimitValues> },
  ): Promise<ChangeOutcome> {
    const { backend, limits, by = UNNAMED } = change;
    await checkNotLate(deps);
    const changed = await changeLimits(deps.database, { backend, limits, by, source: sourceOf(change) });
    if (changed.kind === 'unknown-backend')
      throw new Failure('BackendNotFound', {
        backend: quote(backend),
        known: listed(Object.keys(deps.config.backends)),
      });
    if (changed.kind === 'low-above-high') {
      const { freeLowWater, freeHighWater } = changed;
      const value = `${freeLowWater} beside a freeHighWater of ${freeHighWater}`;
      throw new Failure('InvalidRequest', { field: 'freeLowWater', value, allowed: 'at most freeHighWater' });
    }
    const values = Object.entries(limits).map(([name, value]) => `${name} ${value ?? 'off'}`);
    return { outcome: 'done', summary: `set by ${by}: ${values.join(', ')}` };
  };
}

/** Lets the next create of refused bytes inspect them again. Idempotent. */
export function createApplyForgetRefusal(deps: ControlDependencies) {
  /** @param change `cacheKey`: the short key of the refused bytes, or its beginning. */
  return async function applyForgetRefusal(change: OperatorChange & { cacheKey: string }): Promise<ChangeOutcome> {
    const { backend, cacheKey, by = UNNAMED } = change;
    await checkNotLate(deps);
    const keys = await clearRefusal(deps.database, { backend, cacheKey, source: sourceOf(change) });
    const [key] = keys;
    if (key === undefined)
      return { outcome: 'nothing-to-do', summary: `backend ${backend} remembers no refusal of a key ${cacheKey}` };
    if (keys.length > 1) return { outcome: 'refused', summary: describeAmbiguity(cacheKey, keys) };
    const summary = `the refusal of key ${key} was forgotten by ${by}: the next create inspects its bytes again`;
    return { outcome: 'done', summary };
  };
}

/**
 * For a change that a later one may undo: a try that its workflow has given up changes nothing any more. The server
 * decides that, since neither this host's clock nor the database's is the one that the try's time is measured by.
 * @throws when the server no longer waits for this try (nobody hears it).
 */
async function checkNotLate(deps: Pick<ControlDependencies, 'temporal'>): Promise<void> {
  const { activityId, attempt, workflowExecution: execution } = activityInfo();
  const run = execution && (await findRun(deps, execution));
  const pending = run?.raw.pendingActivities?.find((activity) => activity.activityId === activityId);
  if (pending?.attempt === attempt) return;
  throw ApplicationFailure.create({ message: 'this attempt came too late and changed nothing' });
}

/**
 * How often the backend's evictor sweeps, in milliseconds; null: only when asked.
 * @throws InvalidRequest for a backend that nobody knows (final).
 */
export function createReadEvictorSettings({ config, database }: ControlDependencies) {
  return async function readEvictorSettings({
    backend,
  }: {
    backend: BackendName;
  }): Promise<{ sweepIntervalMs: number | null }> {
    const configured = Object.keys(config.backends);
    if (!configured.includes(backend) && (await findBackend(database, { name: backend })) === undefined)
      throw new Failure('BackendNotFound', {
        backend: quote(backend),
        known: listed(configured),
      });
    const { evict } = config.schedules;
    return { sweepIntervalMs: evict === 'off' ? null : evict };
  };
}
