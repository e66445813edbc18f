import type { Database } from '../../db/client';
import { withFacts } from '../../db/evictions/eviction-view';
import { readEntries } from '../../db/evictions/evictor';
import { viewEvictions } from '../../db/evictions/victims';
import type { EntryRow } from '../../db/schema';
import { formatBytes } from '../../workflows/contract/bytes';
import {
  findStayReason,
  stayReasons,
  type EvictionPlan,
  type EvictionResult,
  type PlannedEviction,
  type StayReason,
} from '../../workflows/contract/eviction';
import type { BackendName } from '../../workflows/contract/ids';
import { chooseEvictions, type Chosen, type Selection } from '../eviction/choose-evictions';
import { classOfReason } from '../eviction/rank-candidates';
import { reclaimableOf } from '../eviction/shortages';
import type { ResolvedOrder } from './resolve-order';

/** Lines of a plan, of what goes and of what stays: it is kept in a workflow's state. */
const PLAN_ROWS = 100;
/** Images that a line names. */
const PLAN_IMAGES = 20;

/** Plans what an order would do now, why, and why the others stay. Changes nothing. */
export async function planOrder(
  database: Database,
  { backend, resolved }: { backend: BackendName; resolved: ResolvedOrder },
): Promise<EvictionResult> {
  const { demand, refusal } = resolved;
  if (refusal !== undefined) return refused(resolved, refusal);
  const entryIds = demand?.kind === 'named' ? demand.entryIds : [];
  const selection = chooseEvictions(await viewEvictions(database, { backend, entryIds }), demand ? [demand] : []);
  const plan = planOf(selection);
  return { ...headOf(resolved), outcome: 'planned', summary: describePlan(selection, plan), plan };
}

function planOf({ chosen, stay }: Selection): EvictionPlan {
  const going = chosen.filter(({ held }) => !held);
  return {
    evict: chosen.slice(0, PLAN_ROWS).map(plannedOf),
    stay: stay
      .slice(0, PLAN_ROWS)
      .map(({ candidate: { entry }, why }) => ({ entryId: entry.id, shortKey: entry.shortKey, why })),
    reclaimableBytes: going.reduce((sum, each) => sum + reclaimableOf(each.candidate.entry), 0),
  };
}

function plannedOf(chosen: Chosen): PlannedEviction {
  const { entry, images } = chosen.candidate;
  return {
    entryId: entry.id,
    shortKey: entry.shortKey,
    imageVolume: entry.imageVolume,
    imageIds: images.slice(0, PLAN_IMAGES).map(({ imageId }) => imageId),
    class: chosen.class,
    why: chosen.why,
    score: chosen.score,
    realBytes: entry.realBytes,
    reclaimableBytes: reclaimableOf(entry),
    clones: entry.clones,
  };
}

function describePlan({ chosen }: Selection, { reclaimableBytes }: EvictionPlan): string {
  if (chosen.length === 0) return 'would evict nothing';
  const held = chosen.filter((each) => each.held).length;
  const parts = [`would evict ${chosen.length - held}, which frees ${formatBytes(reclaimableBytes)}`];
  if (held > 0) parts.push(`would retire ${held} that clones hold`);
  if (chosen.length > PLAN_ROWS) parts.push(`the first ${PLAN_ROWS} are listed`);
  return parts.join('; ');
}

/** Lines of a result: it is kept in a workflow's state. */
const RESULT_ROWS = 100;

/** Entries that went or are held, and for whom; undefined: for nobody who asked now. */
export interface PassOutcome {
  gone: { entry: EntryRow; order: ResolvedOrder | undefined }[];
  held: { entry: EntryRow; order: ResolvedOrder | undefined }[];
}

/**
 * @returns the order that an earlier try has deleted the entry for: one that names it, else one that asks for so
 *   many, or the sweep.
 */
export function findOwner(entry: EntryRow, resolved: ResolvedOrder[]): ResolvedOrder | undefined {
  const kind = entry.reason === 'requested' ? 'rank' : 'sweep';
  return (
    resolved.find(({ entries }) => entries.some(({ id }) => id === entry.id)) ??
    resolved.find(({ demand }) => demand?.kind === kind) ??
    resolved.find(({ demand }) => demand !== undefined && demand.kind !== 'named')
  );
}

/** @returns one order's result: the entries that went for it, and why named ones stay. */
export async function reportOrder(
  database: Database,
  resolved: ResolvedOrder,
  outcome: PassOutcome,
): Promise<EvictionResult> {
  const { refusal } = resolved;
  if (refusal !== undefined) return refused(resolved, refusal);
  const gone = goneFor(resolved, outcome);
  const stays = await findStaying(database, resolved);
  const heldNow = [
    ...outcome.held
      .filter((each) => each.order === resolved && resolved.entries.length === 0)
      .map(({ entry }) => entry),
    // An entry that an earlier order has retired goes with its last clone, whoever asked first.
    ...stays.filter(({ why }) => why === 'has-clones').map(({ entry }) => entry),
  ];
  const kept = stays.filter(({ why }) => why !== 'has-clones');
  const nothingDone = gone.length === 0 && heldNow.length === 0;
  return {
    ...headOf(resolved),
    outcome: !nothingDone ? 'done' : kept.length > 0 ? 'refused' : 'nothing-to-do',
    summary: describeDone({ resolved, gone, held: heldNow, kept }),
    evicted: gone.slice(0, RESULT_ROWS).map((entry) => ({
      entryId: entry.id,
      class: classOfReason(entry.reason),
      reclaimedBytes: reclaimableOf(entry),
    })),
    held: heldNow.slice(0, RESULT_ROWS).map(({ id, clones }) => ({ entryId: id, clones })),
  };
}

/** Entries that went for this order, and named ones that went for another. */
function goneFor(resolved: ResolvedOrder, { gone }: PassOutcome): EntryRow[] {
  const named = new Set(resolved.entries.map(({ id }) => id));
  const own = gone.filter(({ entry, order }) => order === resolved || named.has(entry.id));
  return [...new Map(own.map(({ entry }) => [entry.id, entry])).values()];
}

type Staying = { entry: EntryRow; why: StayReason };

/** Of what was named, what is still there, as it is now. */
async function findStaying(database: Database, { entries }: ResolvedOrder): Promise<Staying[]> {
  const rows = await readEntries(database, { entryIds: entries.map(({ id }) => id) });
  const there = await withFacts(
    database,
    rows.filter(({ state }) => state !== 'gone'),
  );
  return there.map(({ entry, ...facts }) => ({
    entry,
    why: findStayReason({ ...entry, ...facts }) ?? 'within-limits',
  }));
}

function describeDone({
  resolved,
  gone,
  held,
  kept,
}: {
  resolved: ResolvedOrder;
  gone: EntryRow[];
  held: EntryRow[];
  kept: Staying[];
}): string {
  const parts: string[] = [];
  const bytes = gone.reduce((sum, entry) => sum + reclaimableOf(entry), 0);
  if (gone.length > 0) parts.push(`evicted ${gone.length}, which frees ${formatBytes(bytes)}`);
  if (held.length > 0) parts.push(`retired ${held.length}, to be deleted with the last of ${clonesOf(held)} clones`);
  for (const { entry, why } of kept.slice(0, 3))
    parts.push(
      `entry ${entry.id} stays: ${stayReasons[why]}${entry.reasonDetail === null ? '' : ` (${entry.reasonDetail})`}`,
    );
  if (kept.length > 3) parts.push(`${kept.length - 3} more stay`);
  const shortfall = describeShortfall(resolved, gone, bytes);
  if (shortfall !== undefined) parts.push(shortfall);
  if (parts.length > 0) return parts.join('; ');
  return resolved.entries.length > 0 ? 'it was deleted already' : 'nothing is due, and the limits hold';
}

function describeShortfall({ demand }: ResolvedOrder, gone: EntryRow[], bytes: number): string | undefined {
  if (demand?.kind !== 'rank') return undefined;
  const isShort = (demand.count ?? 0) > gone.length || (demand.bytes ?? 0) > bytes;
  return isShort ? 'no more can be evicted: the others are leased, awaited, pinned or held by clones' : undefined;
}

function clonesOf(held: EntryRow[]): number {
  return held.reduce((sum, { clones }) => sum + clones, 0);
}

function headOf({ order }: ResolvedOrder): Pick<EvictionResult, 'requestId' | 'signal' | 'at'> {
  return { requestId: order.requestId, signal: order.signal, at: new Date().toISOString() };
}

function refused(resolved: ResolvedOrder, refusal: string): EvictionResult {
  return { ...headOf(resolved), outcome: 'refused', summary: refusal };
}
