import { activityInfo } from '@temporalio/activity';
import { readDatabaseTime } from '../../db/clock';
import { observeSpace } from '../../db/backends';
import { listLowestImageVolumes, noteReclaimable, scoreEntries } from '../../db/evictions/entry-scores';
import { recordEvent } from '../../db/events';
import { forgetGone, listDeleting, listGoneSince } from '../../db/evictions/evictor';
import { markForEviction, type VictimSelection } from '../../db/evictions/victims';
import type { EntryRow } from '../../db/schema';
import { shareBytes } from '../../workflows/contract/bounded-results';
import { MiB } from '../../workflows/contract/bytes';
import type { EvictionOrder, EvictionResult } from '../../workflows/contract/eviction';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive, lastHeartbeat } from '../kit/heartbeat-reporter';
import { chooseEvictions, toVictims, type Demand, type Selection } from '../eviction/choose-evictions';
import { deleteEntry } from '../kit/delete-entry';
import { plural } from '../../workflows/contract/words';
import { scoreOf, USE_HALF_LIFE_MS } from '../eviction/score';
import { reclaimableOf } from '../eviction/shortages';
import { isRunning, workflowExecution } from '../kit/runs';
import { planOrder, reportOrder, findOwner, type PassOutcome } from './answer-order';
import { resolveOrder, type ResolvedOrder } from './resolve-order';

export interface EvictEntriesRequest {
  /** Worked on in one pass; each gets a result. */
  orders: EvictionOrder[];
}

/** JSON of all answers of one call: they are one payload. */
const ANSWERS_BYTES = MiB;
/** Choices of one call; the next sweep goes on. */
const CHOICES = 10;
/** After so long what an entry was used for counts nothing: its row is forgotten. */
const GONE_KEPT_MS = 13 * USE_HALF_LIFE_MS;
const FORGOTTEN_AT_ONCE = 1000;
/** Rows of volumes that one sweep lets go of what it forgets: seconds of work. */
const VOLUMES_RELEASED = 20_000;
/** Deletions that one call finishes. */
const FINISHED_AT_ONCE = 500;
/** Image-volumes that the backend is asked about in one sweep: those that may go first. */
const ASKED_ROWS = 300;
const ASKED_AT_ONCE = 16;
/** Scores that are this old are worked out anew: an entry that nobody uses sinks by at most a twelfth between. */
const SCORE_AGE_MS = USE_HALF_LIFE_MS / 8;

/**
 * Scores the backend's entries, chooses what goes, retires and deletes it. Heartbeats; repeated, killed or late it goes
 * on from what the inventory says, and reports what its earlier tries have deleted.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createEvictEntries(deps: BackendDependencies, name: BackendName) {
  return async function evictEntries({ orders }: EvictEntriesRequest): Promise<EvictionResult[]> {
    const backend = backendHeld(deps, name);
    const { workflowId } = workflowExecution();
    // The database's time when the first try began; its deletions are from then on.
    const { since: told } = lastHeartbeat<{ since: string }>();
    const since = told === undefined ? await readDatabaseTime(deps.database) : new Date(told);
    const progressOf = (summary: string) => ({ stage: 'waiting', summary, since: since.toISOString() }) as const;
    const first = progressOf(`beginning ${plural(orders.length, 'order')}`);
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const onStep = (summary: string): void => {
        reporter.signal.throwIfAborted();
        reporter.report(progressOf(summary));
      };
      return await answerOrders({ deps, backend, workflowId, since, onStep }, orders);
    });
  };
}

async function answerOrders(run: Run, orders: EvictionOrder[]): Promise<EvictionResult[]> {
  const { deps, backend, onStep } = run;
  await observeSpace(deps.database, { name: backend.name, ...(await backend.space()) });
  const resolved: ResolvedOrder[] = [];
  for (const order of orders) resolved.push(await resolveOrder(deps.database, { backend: backend.name, order }));
  const results = new Map<ResolvedOrder, EvictionResult>();
  for (const each of resolved.filter(({ order }) => order.dryRun)) {
    onStep(`planning ${each.order.requestId}`);
    results.set(each, await planOrder(deps.database, { backend: backend.name, resolved: each }));
  }
  const real = resolved.filter(({ order }) => !order.dryRun);
  if (real.length > 0) {
    const outcome = await fulfil(run, real);
    for (const each of real) {
      const result = await reportOrder(deps.database, each, outcome);
      await recordRequest(deps, backend.name, { order: each.order, result });
      results.set(each, result);
    }
  }
  return shareBytes(
    resolved.flatMap((each) => results.get(each) ?? []),
    ANSWERS_BYTES,
  );
}

/** Records a request and its result. Once for each request of a run. */
async function recordRequest(
  { database }: BackendDependencies,
  backend: BackendName,
  { order, result }: { order: EvictionOrder; result: EvictionResult },
): Promise<void> {
  const { target, requestId, reason, by } = order;
  if (target === undefined) return;
  const { outcome, summary } = result;
  const imageId = 'imageId' in target ? (target.imageId as ImageId) : undefined;
  const detail = { ...target, ...(reason !== undefined && { reason }), outcome, summary };
  const source = { by, requestId, ...workflowExecution() };
  await recordEvent(database, { kind: 'evict.requested', object: requestId, backend, imageId, detail, ...source });
}

interface Run {
  deps: BackendDependencies;
  backend: VolumeBackend;
  workflowId: string;
  since: Date;
  /** Heartbeats; throws when the activity is cancelled. */
  onStep: (summary: string) => void;
}

/** Deletions that an earlier try has begun are finished first; then one choice is made for all orders. */
async function fulfil(run: Run, resolved: ResolvedOrder[]): Promise<PassOutcome> {
  const { deps, backend, onStep } = run;
  const outcome: PassOutcome = { gone: [], held: [] };
  const leftovers = await finishDeletions(run);
  const sweeps = resolved.filter(({ order }) => order.signal === 'sweep');
  for (const entry of leftovers) outcome.gone.push({ entry, order: sweeps[0] });
  if (activityInfo().attempt > 1) outcome.gone.push(...(await goneBefore(run, resolved)));
  if (sweeps.length > 0) {
    await scoreBackend(run);
    deps.metrics.swept({ backend: backend.name });
  }
  await evict(run, resolved, outcome);
  if (sweeps.length > 0) {
    await forgetGone(deps.database, {
      backend: backend.name,
      keptMs: GONE_KEPT_MS,
      limit: FORGOTTEN_AT_ONCE,
      mostVolumes: VOLUMES_RELEASED,
      onBatch: () => onStep('removing the rows of entries that were deleted long ago'),
    });
  }
  await observeSpace(deps.database, { name: backend.name, ...(await backend.space()) });
  return outcome;
}

/**
 * Finishes what an earlier try, or whoever else is dead, has marked and not deleted. A population that runs deletes its
 * own victims: their bytes are its reservation's. Idempotent.
 * @returns what is gone by this call.
 */
async function finishDeletions({ deps, backend, workflowId, onStep }: Run): Promise<EntryRow[]> {
  const running = new Map<string, boolean>([[workflowId, false]]);
  const isAtWork = async (id: string): Promise<boolean> => {
    const known = running.get(id) ?? (await isRunning(deps, { workflowId: id }));
    running.set(id, known);
    return known;
  };
  const gone: EntryRow[] = [];
  for (const entry of await listDeleting(deps.database, { backend: backend.name, limit: FINISHED_AT_ONCE })) {
    onStep(`finishing the deletion of image-volume ${entry.imageVolume}`);
    if (entry.reservedFor !== null && (await isAtWork(entry.reservedFor))) continue;
    const deletion = await deleteEntry(deps, backend, { entryId: entry.id, workflowId });
    if (deletion.kind === 'gone') gone.push(entry);
  }
  return gone;
}

/**
 * Brings the scores of a backend's entries up to date: uses since the last time, decay, and what a deletion would give
 * back. Idempotent.
 */
async function scoreBackend({ deps, backend, onStep }: Run): Promise<void> {
  const { database } = deps;
  await scoreEntries(database, {
    backend: backend.name,
    staleMs: SCORE_AGE_MS,
    score: scoreOf,
    onBatch: (scored) => onStep(`scored ${scored} entries`),
  });
  if (backend.reclaimableBytes === undefined) return;
  const lowest = await listLowestImageVolumes(database, { backend: backend.name, limit: ASKED_ROWS });
  const found = [];
  for (let from = 0; from < lowest.length; from += ASKED_AT_ONCE) {
    const batch = lowest.slice(from, from + ASKED_AT_ONCE);
    const answers = await Promise.all(
      batch.map(async ({ imageVolume }) => await backend.reclaimableBytes?.(imageVolume)),
    );
    found.push(...batch.map(({ entryId }, index) => ({ entryId, bytes: answers[index] ?? 0 })));
    onStep(`measured what ${found.length} image-volumes would give back`);
  }
  await noteReclaimable(database, { found });
}

/**
 * Entries that earlier tries of this activity have deleted, whose answer is lost: a request for so many gets no more
 * than it asked for.
 */
async function goneBefore(
  { deps, backend, workflowId, since }: Run,
  resolved: ResolvedOrder[],
): Promise<PassOutcome['gone']> {
  const rows = await listGoneSince(deps.database, { backend: backend.name, workflowId, since });
  return rows.map((entry) => ({ entry, order: findOwner(entry, resolved) }));
}

/**
 * Where the backend refuses to delete an image-volume, others are chosen; where one choice did not find enough among
 * its candidates, another follows.
 */
async function evict(run: Run, resolved: ResolvedOrder[], outcome: PassOutcome): Promise<void> {
  const { database } = run.deps;
  const refused = new Set<EntryId>();
  for (let choice = 1; choice <= CHOICES; choice += 1) {
    await observeSpace(database, { name: run.backend.name, ...(await run.backend.space()) });
    const before = { refused: refused.size, gone: outcome.gone.length };
    const { isShort } = await evictOnce(run, { resolved, outcome, refused });
    if (refused.size === before.refused && !(isShort && outcome.gone.length > before.gone)) return;
  }
}

async function evictOnce(
  { deps, backend, workflowId, onStep }: Run,
  { resolved, outcome, refused }: { resolved: ResolvedOrder[]; outcome: PassOutcome; refused: Set<EntryId> },
): Promise<Selection> {
  const demands = resolved.map((each) => remaining(each, outcome));
  const taken = await markForEviction(deps.database, {
    backend: backend.name,
    entryIds: demands.flatMap((demand) => (demand?.kind === 'named' ? demand.entryIds : [])),
    workflowId,
    choose: (view): VictimSelection & { selection: Selection } => {
      const candidates = view.candidates.filter(({ entry }) => !refused.has(entry.id));
      const selection = chooseEvictions(
        { ...view, candidates },
        demands.map((demand) => demand ?? nothing),
      );
      return { ...toVictims(selection), selection };
    },
  });
  const { selection } = taken.selection;
  const chosen = new Map(selection.chosen.map((each) => [each.candidate.entry.id, each]));
  const orderOf = (entry: EntryRow) => resolved[chosen.get(entry.id)?.demand ?? -1];
  outcome.held.push(...taken.held.map((entry) => ({ entry, order: orderOf(entry) })));
  for (const entry of taken.deleting) {
    onStep(`deleting image-volume ${entry.imageVolume}, ${outcome.gone.length} gone so far`);
    const deletion = await deleteEntry(deps, backend, { entryId: entry.id, workflowId });
    if (deletion.kind === 'gone') outcome.gone.push({ entry, order: orderOf(entry) });
    if (deletion.kind === 'kept') refused.add(entry.id);
  }
  return selection;
}

const nothing: Demand = { kind: 'named', entryIds: [], why: '' };

/** A request for so much is smaller by what it has got. */
function remaining(resolved: ResolvedOrder, { gone }: PassOutcome): Demand | undefined {
  const { demand } = resolved;
  if (demand?.kind !== 'rank') return demand;
  const got = gone.filter(({ order }) => order === resolved);
  const bytes = got.reduce((sum, { entry }) => sum + reclaimableOf(entry), 0);
  return {
    ...demand,
    ...(demand.bytes !== undefined && { bytes: Math.max(0, demand.bytes - bytes) }),
    ...(demand.count !== undefined && { count: Math.max(0, demand.count - got.length) }),
  };
}
