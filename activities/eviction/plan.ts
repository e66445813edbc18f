import type { Database } from '../../db/client';
import { viewEvictions } from '../../db/evictions/victims';
import { formatBytes } from '../../workflows/contract/bytes';
import type { EvictionPlan, EvictionResult, PlannedEviction } from '../../workflows/contract/eviction';
import type { BackendName } from '../../workflows/contract/ids';
import { chooseEvictions, type Chosen, type Selection } from './choose-evictions';
import type { ResolvedOrder } from './orders';
import { reclaimableOf } from './take-lowest';

/** Lines of a plan, of what goes and of what stays: it is kept in a workflow's state. */
const PLAN_ROWS = 100;
/** Images that a line names. */
const PLAN_IMAGES = 20;

/** What an order would do now, why, and why the others stay. Changes nothing. */
export async function planOrder(
  database: Database,
  { backend, resolved }: { backend: BackendName; resolved: ResolvedOrder },
): Promise<EvictionResult> {
  const { order, demand, refusal } = resolved;
  const head = { requestId: order.requestId, signal: order.signal, at: new Date().toISOString() };
  if (refusal !== undefined) return { ...head, outcome: 'refused', summary: refusal };
  const entryIds = demand?.kind === 'named' ? demand.entryIds : [];
  const selection = chooseEvictions(await viewEvictions(database, { backend, entryIds }), demand ? [demand] : []);
  const plan = planOf(selection);
  return { ...head, outcome: 'planned', summary: describePlan(selection, plan), plan };
}

function planOf({ chosen, stay }: Selection): EvictionPlan {
  const going = chosen.filter(({ held }) => !held);
  return {
    evict: chosen.slice(0, PLAN_ROWS).map(plannedOf),
    stay: stay
      .slice(0, PLAN_ROWS)
      .map(({ candidate: { entry }, why }) => ({ entryId: entry.id, shortKey: entry.shortKey, why })),
    reclaimableBytes: going.reduce((sum, each) => sum + reclaimableOf(each), 0),
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
    reclaimableBytes: reclaimableOf(chosen),
    clones: entry.clones,
  };
}

function describePlan({ chosen }: Selection, { reclaimableBytes }: EvictionPlan): string {
  if (chosen.length === 0) return 'would evict nothing';
  const held = chosen.filter((each) => each.held).length;
  const parts = [`would evict ${chosen.length - held}, which gives back ${formatBytes(reclaimableBytes)}`];
  if (held > 0) parts.push(`would retire ${held} that clones hold`);
  if (chosen.length > PLAN_ROWS) parts.push(`the first ${PLAN_ROWS} are listed`);
  return parts.join('; ');
}
