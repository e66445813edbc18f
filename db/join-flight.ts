import { eq, sql } from 'drizzle-orm';
import type { BackendName, ImageId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { Verdict } from '../workflows/contract/population';
import type { VolumeState } from '../workflows/contract/volume';
import { hasKey, isSameKey, keyColumnNames, keyValues } from './key-columns';
import type { Database } from './client';
import { populations, volumes, type PopulationRow } from './schema';
import { inTransaction, query, readRows, readTable, runStatement, type Queryable, transactionTime } from './statement';
import { lockPopulation, isProvenRefusal, type WaitingActivity } from './flights';

export interface FlightJoin extends WaitingActivity {
  backend: BackendName;
  key: CacheKey;
  volumeId: VolumeId;
  imageId: ImageId;
  policyVersion: string;
}

export type FlightJoinOutcome =
  /**
   * `runId`: the run that has claimed this flight, if one has. `answeredRunId`: the last run that answered a flight of
   * this key; it takes no waiters, so wait until another run is there.
   */
  | { kind: 'waiting'; flight: number; role: 'leader' | 'joined'; runId: string | null; answeredRunId: string | null }
  /** The very flight that this volume waited for has its verdict. */
  | { kind: 'answered'; flight: number; verdict: Verdict }
  /** An earlier flight refused these bytes under the same policy. */
  | { kind: 'remembered'; verdict: Verdict }
  | { kind: 'collision' }
  | { kind: 'not-creating'; state: VolumeState | 'absent' };

/**
 * Lets a volume wait for the key's flight, which it leads when there was none that is still unanswered. Repeated by the
 * same volume it answers the same, role included, until the flight is answered. Undo: none is needed, a volume that is
 * no longer `creating` waits for nothing.
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
  const population = await ensureRow(transaction, request);
  const waitsForFlight = await lockWaiter(transaction, request);
  if (!isSameKey(population, request.key)) return { kind: 'collision' };
  if (!population.verdict) return wait(transaction, { request, population });
  if (waitsForFlight === population.flight)
    return { kind: 'answered', flight: population.flight, verdict: population.verdict };
  if (isRememberedRefusal(population, request)) return { kind: 'remembered', verdict: population.verdict };
  return wait(transaction, { request, population: await openNextFlight(transaction, request) });
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

/** Locks the volume's row. @returns the flight that it waits for already. */
async function lockWaiter(transaction: Queryable, { volumeId, runId }: FlightJoin): Promise<number | null> {
  const { state, runId: ofRun, waitsForFlight } = volumes;
  const [row] = await readRows(
    transaction,
    { state, ofRun, waitsForFlight },
    (columns) => sql`select ${columns} from volumes where id = ${volumeId} for no key update`,
  );
  if (row?.state !== 'creating' || row.ofRun !== runId) throw new NotCreating(row?.state ?? 'absent');
  return row.waitsForFlight;
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
  const { flight, leaderVolumeId, runId, answeredRunId } = population;
  await query(transaction, (orm) =>
    orm
      .update(volumes)
      .set({ waitsForFlight: flight, activityId: request.activityId, updatedAt: transactionTime })
      .where(eq(volumes.id, request.volumeId)),
  );
  const role = leaderVolumeId === request.volumeId ? 'leader' : 'joined';
  return { kind: 'waiting', flight, role, runId, answeredRunId };
}
