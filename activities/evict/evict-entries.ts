import { activityInfo } from '@temporalio/activity';
import { readDatabaseTime } from '../../db/clock';
import { observeSpace } from '../../db/backends';
import { forgetGone, listGoneSince } from '../../db/evictions/evictor';
import { takeForEviction, type VictimSelection } from '../../db/evictions/victims';
import type { EntryRow } from '../../db/types';
import { shareBytes } from '../../workflows/contract/bounded-results';
import { MiB } from '../../workflows/contract/bytes';
import type { EvictionOrder, EvictionResult } from '../../workflows/contract/eviction';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { chooseEvictions, type Demand, type Selection } from '../eviction/choose-evictions';
import { toVictims } from '../eviction/choose-for-reservation';
import { deleteEntry } from '../kit/delete-entry';
import { finishDeletions } from './finish-deletions';
import { resolveOrder, type ResolvedOrder } from '../eviction/orders';
import { planOrder } from '../eviction/plan';
import { reclaimedOf, reportOrder, whoTook, type Outcome } from './report-eviction';
import { scoreBackend } from './score-backend';
import { USE_HALF_LIFE_MS } from '../eviction/score';
import { workflowExecution } from '../kit/runs';
import { plural } from '../../workflows/contract/words';

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

/**
 * Scores the backend's entries, chooses what goes, retires and deletes it. Heartbeats; repeated, killed or late it goes on from what the inventory
 * says, and reports what its earlier tries have deleted.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createEvictEntries(deps: BackendDependencies, name: BackendName) {
  return async function evictEntries({ orders }: EvictEntriesRequest): Promise<EvictionResult[]> {
    const backend = backendHeld(deps, name);
    const { workflowId } = workflowExecution();
    // The database's time when the first try began; what it has deleted is from then on.
    const since = findSince() ?? (await readDatabaseTime(deps.database));
    const progressOf = (summary: string) => ({ stage: 'waiting', summary, since: since.toISOString() }) as const;
    const first = progressOf(`looking at ${plural(orders.length, 'order')}`);
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const onStep = (summary: string): void => {
        reporter.signal.throwIfAborted();
        reporter.report(progressOf(summary));
      };
      return await answerOrders({ deps, backend, workflowId, since, onStep }, orders);
    });
  };
}

function findSince(): Date | undefined {
  const details = activityInfo().heartbeatDetails as { since?: string } | undefined;
  return details?.since === undefined ? undefined : new Date(details.since);
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
    const outcome = await work(run, real);
    for (const each of real) results.set(each, await reportOrder(deps.database, each, outcome));
  }
  return shareBytes(
    resolved.flatMap((each) => results.get(each) ?? []),
    ANSWERS_BYTES,
  );
}

interface Run {
  deps: BackendDependencies;
  backend: VolumeBackend;
  workflowId: string;
  since: Date;
  /** Heartbeats; throws when the activity is cancelled. */
  onStep: (summary: string) => void;
}

/** What an earlier try has begun is finished first; then one choice serves all orders. */
async function work(run: Run, resolved: ResolvedOrder[]): Promise<Outcome> {
  const { deps, backend, workflowId, onStep } = run;
  const outcome: Outcome = { gone: [], held: [] };
  const leftovers = await finishDeletions(deps, backend, { workflowId, onStep });
  const sweeps = resolved.filter(({ order }) => order.signal === 'sweep');
  for (const entry of leftovers) outcome.gone.push({ entry, order: sweeps[0] });
  if (activityInfo().attempt > 1) outcome.gone.push(...(await goneBefore(run, resolved)));
  if (sweeps.length > 0) {
    await scoreBackend(deps, backend, onStep);
    deps.metrics.swept({ backend: backend.name });
  }
  await evict(run, resolved, outcome);
  if (sweeps.length > 0) {
    await forgetGone(deps.database, {
      backend: backend.name,
      keptMs: GONE_KEPT_MS,
      limit: FORGOTTEN_AT_ONCE,
      mostVolumes: VOLUMES_RELEASED,
      onBatch: () => onStep('forgetting entries that have been gone for long'),
    });
  }
  await observeSpace(deps.database, { name: backend.name, ...(await backend.space()) });
  return outcome;
}

/** What earlier tries of this activity have deleted, whose answer is lost: a request for so many gets no more than it asked for. */
async function goneBefore(
  { deps, backend, workflowId, since }: Run,
  resolved: ResolvedOrder[],
): Promise<Outcome['gone']> {
  const rows = await listGoneSince(deps.database, { backend: backend.name, workflowId, since });
  return rows.map((entry) => ({ entry, order: whoTook(entry, resolved) }));
}

/** Where the backend would not delete something, that is left alone and others are chosen; where one choice could not look at enough, another follows. */
async function evict(run: Run, resolved: ResolvedOrder[], outcome: Outcome): Promise<void> {
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
  { resolved, outcome, refused }: { resolved: ResolvedOrder[]; outcome: Outcome; refused: Set<EntryId> },
): Promise<Selection> {
  const asked = resolved.map((each) => remaining(each, outcome));
  const taken = await takeForEviction(deps.database, {
    backend: backend.name,
    entryIds: asked.flatMap((demand) => (demand?.kind === 'named' ? demand.entryIds : [])),
    workflowId,
    choose: (view): VictimSelection & { selection: Selection } => {
      const candidates = view.candidates.filter(({ entry }) => !refused.has(entry.id));
      const selection = chooseEvictions(
        { ...view, candidates },
        asked.map((demand) => demand ?? nothing),
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
function remaining(resolved: ResolvedOrder, { gone }: Outcome): Demand | undefined {
  const { demand } = resolved;
  if (demand?.kind !== 'rank') return demand;
  const got = gone.filter(({ order }) => order === resolved);
  const bytes = got.reduce((sum, { entry }) => sum + reclaimedOf(entry), 0);
  return {
    ...demand,
    ...(demand.bytes !== undefined && { bytes: Math.max(0, demand.bytes - bytes) }),
    ...(demand.count !== undefined && { count: Math.max(0, demand.count - got.length) }),
  };
}
