import { activityInfo, heartbeat } from '@temporalio/activity';
import { confirmEntryGone } from '../../db/queries/cache-entries';
import { observeSpace } from '../../db/queries/backends';
import { forgetGone, listGoneSince } from '../../db/queries/evictor';
import { takeForEviction, type VictimSelection } from '../../db/queries/victims';
import type { EntryRow } from '../../db/types';
import type { EvictionOrder, EvictionResult } from '../../workflows/contract/eviction';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { workflowExecution } from '../records/admit-volume';
import { backendHeld } from '../records/clone-volume';
import { chooseEvictions, type Demand, type Selection } from './choose-evictions';
import { toVictims } from './choose-for-reservation';
import { deleteVictim } from './delete-victim';
import { finishDeletions } from './finish-deletions';
import { resolveOrder, type ResolvedOrder } from './orders';
import { planOrder } from './plan';
import { reportOrder, type Outcome } from './report';
import { scoreBackend } from './score-backend';
import { USE_HALF_LIFE_MS } from './score';

export interface EvictEntriesRequest {
  /** Worked on in one pass; each gets a result. */
  orders: EvictionOrder[];
}

/** How often others are chosen when the backend would not delete what was chosen. */
const CHOICES = 3;
/** After so long what an entry was used for counts nothing: its row is forgotten. */
const GONE_KEPT_MS = 13 * USE_HALF_LIFE_MS;
const FORGOTTEN_AT_ONCE = 1000;

/**
 * Scores the backend's entries, chooses what goes, retires and deletes it. Heartbeats; repeated, killed or late it goes on from what the inventory
 * says, and reports what its earlier tries have deleted.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createEvictEntries(deps: BackendDependencies, name: BackendName) {
  return async function evictEntries({ orders }: EvictEntriesRequest): Promise<EvictionResult[]> {
    const run: Run = { deps, backend: backendHeld(deps, name), workflowId: workflowExecution().workflowId };
    onStep(`looking at ${orders.length} ${orders.length === 1 ? 'order' : 'orders'}`);
    await observeSpace(deps.database, { name, ...(await run.backend.space()) });
    const resolved: ResolvedOrder[] = [];
    for (const order of orders) resolved.push(await resolveOrder(deps.database, { backend: name, order }));
    const [dry, real] = [resolved.filter(({ order }) => order.dryRun), resolved.filter(({ order }) => !order.dryRun)];
    const results = new Map<ResolvedOrder, EvictionResult>();
    for (const each of dry) results.set(each, await planOrder(deps.database, { backend: name, resolved: each }));
    if (real.length > 0) {
      const outcome = await work(run, real);
      for (const each of real) results.set(each, await reportOrder(deps.database, each, outcome));
    }
    return resolved.flatMap((each) => results.get(each) ?? []);
  };
}

interface Run {
  deps: BackendDependencies;
  backend: VolumeBackend;
  workflowId: string;
}

function onStep(summary: string): void {
  heartbeat({ stage: 'waiting', summary });
}

/** What an earlier try has begun is finished first; then one choice serves all orders. */
async function work(run: Run, resolved: ResolvedOrder[]): Promise<Outcome> {
  const { deps, backend, workflowId } = run;
  const outcome: Outcome = { resolved, gone: [], held: [] };
  const leftovers = await finishDeletions(deps, backend, { workflowId, onStep });
  const sweeps = resolved.filter(({ order }) => order.signal === 'sweep');
  if (activityInfo().attempt > 1) outcome.gone.push(...(await goneBefore(run)));
  else outcome.gone.push(...leftovers.map((entry) => ({ entry, demand: undefined })));
  if (sweeps.length > 0) {
    await scoreBackend(deps, backend, onStep);
    deps.metrics.swept({ backend: backend.name });
  }
  await evict(run, resolved, outcome);
  if (sweeps.length > 0) {
    const before = new Date(Date.now() - GONE_KEPT_MS);
    await forgetGone(deps.database, { backend: backend.name, before, limit: FORGOTTEN_AT_ONCE });
  }
  await observeSpace(deps.database, { name: backend.name, ...(await backend.space()) });
  return outcome;
}

/** What earlier tries of this activity have deleted, whose answer is lost. */
async function goneBefore({ deps, backend, workflowId }: Run): Promise<Outcome['gone']> {
  const since = new Date(activityInfo().scheduledTimestampMs);
  const rows = await listGoneSince(deps.database, { backend: backend.name, workflowId, since });
  return rows.map((entry) => ({ entry, demand: undefined }));
}

/** Where the backend would not delete something, that is left alone and others are chosen. */
async function evict(run: Run, resolved: ResolvedOrder[], outcome: Outcome): Promise<void> {
  const refused = new Set<EntryId>();
  for (let choice = 1; choice <= CHOICES; choice += 1) {
    const before = refused.size;
    await evictOnce(run, { resolved, outcome, refused });
    if (refused.size === before) return;
  }
}

async function evictOnce(
  { deps, backend, workflowId }: Run,
  { resolved, outcome, refused }: { resolved: ResolvedOrder[]; outcome: Outcome; refused: Set<EntryId> },
): Promise<void> {
  const asked = resolved.map((each, index) => remaining(each.demand, outcome, index));
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
  const chosen = new Map(taken.selection.selection.chosen.map((each) => [each.candidate.entry.id, each]));
  const demandOf = (entry: EntryRow) => chosen.get(entry.id)?.demand;
  outcome.held.push(...taken.held.map((entry) => ({ entry, demand: demandOf(entry) })));
  for (const entry of taken.deleting) {
    onStep(`deleting image-volume ${entry.imageVolume}, ${outcome.gone.length} gone so far`);
    if (!(await deleteVictim(deps, backend, { victim: entry, workflowId }))) refused.add(entry.id);
    else if (await confirmEntryGone(deps.database, { entryId: entry.id, workflowId }))
      outcome.gone.push({ entry, demand: demandOf(entry) });
  }
}

const nothing: Demand = { kind: 'named', entryIds: [], why: '' };

/** A request for so much is smaller by what it has got. */
function remaining(demand: Demand | undefined, { gone }: Outcome, index: number): Demand | undefined {
  if (demand?.kind !== 'rank') return demand;
  const got = gone.filter((each) => each.demand === index);
  const bytes = got.reduce((sum, { entry }) => sum + (entry.reclaimableBytes ?? entry.realBytes), 0);
  return {
    ...demand,
    ...(demand.bytes !== undefined && { bytes: Math.max(0, demand.bytes - bytes) }),
    ...(demand.count !== undefined && { count: Math.max(0, demand.count - got.length) }),
  };
}
