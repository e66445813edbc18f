import { sql } from 'drizzle-orm/sql';
import type { BackendName, ImageId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { Verdict } from '../workflows/contract/population';
import type { VolumeState } from '../workflows/contract/volume';
import { hasKey, isSameKey, keyColumnNames, keyValues } from './key-columns';
import type { Database } from './client';
import { populations, volumes, type PopulationRow } from './schema';
import { inTransaction, readRows, readTable, runStatement, isOneOf, type Queryable } from './statement';
import { lockPopulation, isProvenRefusal, type WaitingActivity } from './flights';

export interface FlightJoin extends WaitingActivity {
  backend: BackendName;
  key: CacheKey;
  /** Of one run, which waits for all of them with one activity; the first that is still `creating` may lead. */
  volumeIds: readonly VolumeId[];
  imageId: ImageId;
  policyVersion: string;
}

export type FlightJoinOutcome =
  /**
   * `runId`: the run that has claimed this flight, if one has. `answeredRunId`: the last run that answered a flight of
   * this key; it takes no waiters, so wait until another run is there.
   */
  | { kind: 'waiting'; flight: number; role: 'leader' | 'joined'; runId: string | null; answeredRunId: string | null }
  /** The very flight that these volumes waited for has its verdict. */
  | { kind: 'answered'; flight: number; verdict: Verdict }
  /** An earlier flight refused these bytes under the same policy. */
  | { kind: 'remembered'; verdict: Verdict }
  | { kind: 'collision' }
  | { kind: 'not-creating'; state: VolumeState | 'absent' };

/**
 * Lets volumes wait for the key's flight, which the first of them leads when there was none that is still unanswered. Repeated by the same volumes it
 * answers the same, role included, until the flight is answered. Those that are no longer `creating` are passed over while another is. Undo: none is
 * needed, a volume that is no longer `creating` waits for nothing.
 */
export async function joinFlight(database: Database, request: FlightJoin): Promise<FlightJoinOutcome> {
  try {
    return await inTransaction(database, (transaction) => join(transaction, request));
  } catch (error) {
    if (error instanceof NotCreating) return { kind: 'not-creating', state: error.state };
    throw error;
  }
}

async function join(transaction: Queryable, request: FlightJoin): Promise<FlightJoinOutcome> {
  // The flight's row is locked before the volumes' rows, and named after a volume that may turn out to be gone.
  const population = await ensureRow(transaction, { ...request, volumeId: request.volumeIds[0] });
  const { volumeIds, waitsForFlight } = await lockWaiters(transaction, request);
  const joining = { ...request, volumeIds, volumeId: volumeIds[0] };
  if (!isSameKey(population, request.key)) return { kind: 'collision' };
  if (!population.verdict) return wait(transaction, { request: joining, population });
  if (waitsForFlight === population.flight)
    return { kind: 'answered', flight: population.flight, verdict: population.verdict };
  if (isRememberedRefusal(population, request)) return { kind: 'remembered', verdict: population.verdict };
  return wait(transaction, { request: joining, population: await openNextFlight(transaction, joining) });
}

export interface OpenRequest extends Pick<FlightJoin, 'backend' | 'key' | 'imageId' | 'policyVersion'> {
  /** Waits for this flight from here on. */
  waiter?: WaitingActivity;
}

export type OpenOutcome =
  /** Start the flight's run where `runId`, the run that has claimed it, is null. */
  | { kind: 'open'; flight: number; runId: string | null; answeredRunId: string | null }
  | Extract<FlightJoinOutcome, { kind: 'remembered' | 'collision' }>;

/**
 * Opens the key's flight on behalf of no volume, or finds the one that is still unanswered. Repeated it finds the same
 * flight until that is answered, so whoever waits for it keeps its number. Undo: none is needed, a flight that nobody
 * runs waits for its next joiner.
 */
export function openFlight(database: Database, request: OpenRequest): Promise<OpenOutcome> {
  return inTransaction(database, async (transaction) => {
    const population = await ensureRow(transaction, request);
    if (!isSameKey(population, request.key)) return { kind: 'collision' };
    if (population.verdict && isRememberedRefusal(population, request))
      return { kind: 'remembered', verdict: population.verdict };
    const open = population.verdict ? await openNextFlight(transaction, request) : population;
    const { flight, runId, answeredRunId } = open;
    if (request.waiter) await addWaiter(transaction, open, request.waiter);
    return { kind: 'open', flight, runId, answeredRunId };
  });
}

async function addWaiter(
  transaction: Queryable,
  { backend, shortKey, flight }: PopulationRow,
  { workflowId, runId, activityId }: WaitingActivity,
): Promise<void> {
  await runStatement(
    transaction,
    sql`insert into flight_waiters (backend, short_key, flight, workflow_id, run_id, activity_id)
      values (${backend}, ${shortKey}, ${flight}, ${workflowId}, ${runId}, ${activityId})
      on conflict (run_id, activity_id) do update set flight = excluded.flight`,
  );
}

/** Undoes the whole join: the volume was cancelled or deleted, or belongs to another run. */
class NotCreating extends Error {
  constructor(readonly state: VolumeState | 'absent') {
    super(`the volume is ${state}`);
  }
}

/** Locks the volumes' rows. @returns those that still wait for something, and the flight that they wait for already. */
async function lockWaiters(
  transaction: Queryable,
  { volumeIds, runId }: FlightJoin,
): Promise<{ volumeIds: VolumeId[]; waitsForFlight: number | null }> {
  const { id, state, runId: ofRun, waitsForFlight } = volumes;
  const rows = await readRows(
    transaction,
    { id, state, ofRun, waitsForFlight },
    (columns) => sql`select ${columns} from volumes where ${isOneOf(sql`id`, volumeIds)} order by id for no key update`,
  );
  const waiting = new Map(
    rows.filter((row) => row.state === 'creating' && row.ofRun === runId).map((row) => [row.id, row]),
  );
  const left = volumeIds.filter((volumeId) => waiting.has(volumeId));
  const [first] = left;
  if (first === undefined) throw new NotCreating(rows[0]?.state ?? 'absent');
  return { volumeIds: left, waitsForFlight: waiting.get(first)?.waitsForFlight ?? null };
}

/** The key's first flight, or the row as it is; locked. A flight that no volume opens has no leader. */
async function ensureRow(
  transaction: Queryable,
  { backend, key, imageId, policyVersion, volumeId }: OpenRequest & { volumeId?: VolumeId },
): Promise<PopulationRow> {
  await runStatement(
    transaction,
    sql`insert into populations (backend, ${keyColumnNames}, flight, image_id, leader_volume_id, policy_version)
      values (${backend}, ${keyValues(key)}, 1, ${imageId}, ${volumeId ?? null}, ${policyVersion}) on conflict do nothing`,
  );
  const population = await lockPopulation(transaction, { backend, shortKey: key.short });
  if (!population) throw new Error(`the population of ${key.short} on ${backend} has no row`);
  return population;
}

/**
 * Only a refusal by policy of bytes that have the right hash is remembered beyond its flight; a passing failure, damage
 * or a lack of room never is.
 */
function isRememberedRefusal({ verdict, policyVersion }: PopulationRow, request: OpenRequest): boolean {
  return isProvenRefusal(verdict) && policyVersion === request.policyVersion;
}

async function openNextFlight(
  transaction: Queryable,
  request: OpenRequest & { volumeId?: VolumeId },
): Promise<PopulationRow> {
  const [row] = await readTable(
    transaction,
    populations,
    (
      columns,
    ) => sql`update populations p set flight = flight + 1, verdict = null, answered_at = null, run_id = null, image_id = ${request.imageId},
        leader_volume_id = ${request.volumeId ?? null}, policy_version = ${request.policyVersion}, started_at = now()
      where backend = ${request.backend} and short_key = ${request.key.short} and ${hasKey('p', request.key)} returning ${columns}`,
  );
  if (!row) throw new Error(`the locked population of ${request.key.short} on ${request.backend} is gone`);
  return row;
}

async function wait(
  transaction: Queryable,
  { request, population }: { request: FlightJoin; population: PopulationRow },
): Promise<FlightJoinOutcome> {
  await runStatement(
    transaction,
    sql`update volumes set waits_for_flight = ${population.flight}, activity_id = ${request.activityId}, updated_at = now()
      where ${isOneOf(sql`id`, request.volumeIds)}`,
  );
  return {
    kind: 'waiting',
    flight: population.flight,
    role: request.volumeIds.some((volumeId) => volumeId === population.leaderVolumeId) ? 'leader' : 'joined',
    runId: population.runId,
    answeredRunId: population.answeredRunId,
  };
}
