import { sql } from 'drizzle-orm';
import type { FailureRecord } from '../workflows/contract/failures';
import type { BackendName, ImageId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { Verdict } from '../workflows/contract/population';
import type { VolumeState } from '../workflows/contract/volume';
import { hasKey, isSameKey, keyColumnNames, keyValues } from './cache-key';
import type { Database } from './client';
import { populations } from './schema';
import { columnsOf, inTransaction, json, parseRow, runStatement, type Queryable } from './statement';
import type { PopulationRow } from './types';

/** The activity that a flight's end completes. */
export interface WaitingActivity {
  workflowId: string;
  runId: string;
  activityId: string;
}

export interface FlightJoin extends WaitingActivity {
  backend: BackendName;
  key: CacheKey;
  volumeId: VolumeId;
  imageId: ImageId;
  policyVersion: string;
}

export type FlightJoinOutcome =
  /**
   * `runId`: the run that has claimed this flight, if one has. `answeredRunId`: the last run that answered a flight of this key; it takes no
   * waiters, so wait until another run is there.
   */
  | { kind: 'waiting'; flight: number; role: 'leader' | 'joined'; runId: string | null; answeredRunId: string | null }
  /** The very flight that this volume waited for has its verdict. */
  | { kind: 'answered'; flight: number; verdict: Verdict }
  /** An earlier flight refused these bytes under the same policy. */
  | { kind: 'remembered'; verdict: Verdict }
  | { kind: 'collision' }
  | { kind: 'not-creating'; state: VolumeState | 'absent' };

/**
 * Lets a volume wait for the key's flight, which it leads when there was none that is still unanswered. Repeated by the same volume it answers
 * the same, role included, until the flight is answered. Undo: none is needed, a volume that is no longer `creating` waits for nothing.
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
  /** Who waits for this flight from here on; absent: nobody does. */
  waiter?: WaitingActivity;
}

export type OpenOutcome =
  /** Start the flight's run where `runId`, the run that has claimed it, is null. */
  | { kind: 'open'; flight: number; runId: string | null; answeredRunId: string | null }
  | Extract<FlightJoinOutcome, { kind: 'remembered' | 'collision' }>;

/**
 * Opens the key's flight on behalf of no volume, or finds the one that is still unanswered. Repeated it finds the same flight until that is answered,
 * so whoever waits for it keeps its number. Undo: none is needed, a flight that nobody runs waits for its next joiner.
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

export interface ClaimedFlight {
  flight: number;
  imageId: ImageId;
  leaderVolumeId: VolumeId | null;
  /** Set when the flight was answered before this run began: there is nothing to do. */
  answered?: Verdict;
}

interface FlightKey {
  backend: BackendName;
  shortKey: string;
}

/**
 * A run makes the key's flight its own, as the first thing it does. A run that finds it answered puts itself down as one that takes no waiters.
 * Idempotent. @returns undefined when nobody ever joined.
 */
export function updateFlightRun(
  database: Database,
  { backend, shortKey, runId }: FlightKey & { runId: string },
): Promise<ClaimedFlight | undefined> {
  return inTransaction(database, async (transaction) => {
    const population = await lockPopulation(transaction, { backend, shortKey });
    if (!population) return undefined;
    const { flight, imageId, leaderVolumeId, verdict } = population;
    const column = sql.identifier(verdict ? 'answered_run_id' : 'run_id');
    await runStatement(
      transaction,
      sql`update populations set ${column} = ${runId} where backend = ${backend} and short_key = ${shortKey}`,
    );
    return { flight, imageId, leaderVolumeId, ...(verdict && { answered: verdict }) };
  });
}

export type FlightRow = PopulationRow & { answered: boolean };

export async function findFlight(database: Database, { backend, shortKey }: FlightKey): Promise<FlightRow | undefined> {
  const [row] = await runStatement(
    database,
    sql`select ${columnsOf(populations)} from populations where backend = ${backend} and short_key = ${shortKey}`,
  );
  if (!row) return undefined;
  const population = parseRow(populations, row);
  return { ...population, answered: population.answeredAt !== null };
}

/**
 * Writes the flight's verdict, once. Repeated by the run that answered it is true again.
 * @returns false when the flight has another answer, another number, or was claimed by another run.
 */
export async function answerFlight(
  database: Database,
  { backend, shortKey, flight, runId, verdict }: FlightKey & { flight: number; runId: string; verdict: Verdict },
): Promise<boolean> {
  const answered = await runStatement(
    database,
    sql`update populations set verdict = ${json(verdict)}, answered_at = now(), answered_run_id = ${runId}
      where backend = ${backend} and short_key = ${shortKey} and flight = ${flight} and answered_at is null and coalesce(run_id, ${runId}) = ${runId}
      returning flight`,
  );
  if (answered.length > 0) return true;
  const [row] = await runStatement(
    database,
    sql`select 1 from populations where backend = ${backend} and short_key = ${shortKey} and flight = ${flight}
      and answered_at is not null and answered_run_id = ${runId}`,
  );
  return row !== undefined;
}

/** What a flight is answered with for which nobody waits: no waiter ever reads it. */
const unwanted: FailureRecord = {
  type: 'CreateCancelled',
  message: 'every create that waited for this population was given up',
  details: {},
};

/**
 * Answers a flight that a volume opened, for which none waits and whose download is not done, so that nobody joins it any more. Repeated it is the same.
 * @returns the run that is to be cancelled, where one has claimed the flight; undefined when the flight is to go on, or has another answer.
 */
export function giveUpFlight(
  database: Database,
  { backend, shortKey, workflowId }: FlightKey & { workflowId: string },
): Promise<{ runId: string | null } | undefined> {
  return inTransaction(database, async (transaction) => {
    const population = await lockPopulation(transaction, { backend, shortKey });
    if (!population || population.leaderVolumeId === null) return undefined;
    const { verdict, runId, flight, imageId } = population;
    if (verdict?.kind === 'failed' && verdict.failure.type === unwanted.type) return { runId };
    if (verdict || (await isWanted(transaction, { backend, shortKey, flight, workflowId }))) return undefined;
    const answer: Verdict = { kind: 'failed', failure: unwanted, imageId };
    await runStatement(
      transaction,
      sql`update populations set verdict = ${json(answer)}, answered_at = now(), answered_run_id = run_id
        where backend = ${backend} and short_key = ${shortKey}`,
    );
    return { runId };
  });
}

/** @returns whether a volume, or whoever else, waits for the flight, or its bytes are all on a host: what is left to do then is little. */
async function isWanted(
  transaction: Queryable,
  { backend, shortKey, flight, workflowId }: FlightKey & { flight: number; workflowId: string },
): Promise<boolean> {
  const [row] = await runStatement(
    transaction,
    sql`select 1 where exists (select 1 from volumes
          where backend = ${backend} and short_key = ${shortKey} and waits_for_flight = ${flight} and state = 'creating')
        or exists (select 1 from flight_waiters where backend = ${backend} and short_key = ${shortKey} and flight = ${flight})
        or exists (select 1 from scratch_files where ${workflowId} = any (users) and bytes_real is not null)`,
  );
  return row !== undefined;
}

/** @returns the flights of these backends that a run has claimed and not answered. */
export function listRunningFlights(
  database: Database,
  { backends }: { backends: readonly BackendName[] },
): Promise<FlightKey[]> {
  return runStatement<FlightKey & Record<string, unknown>>(
    database,
    sql`select backend, short_key as "shortKey" from populations
      where backend = any(array(select jsonb_array_elements_text(${JSON.stringify(backends)}::jsonb)))
        and answered_at is null and run_id is not null order by started_at`,
  );
}

export interface FlightWaiter extends WaitingActivity {
  /** Of the volume, or of the waiter's own row. */
  id: string;
}

/** @returns up to `limit` of those who wait for this flight's number, volumes and others, in the order of their ids, from `afterId` on. */
export async function waitersOf(
  database: Database,
  { backend, shortKey, flight, limit, afterId }: FlightKey & { flight: number; limit: number; afterId?: string },
): Promise<FlightWaiter[]> {
  const after = afterId ?? '00000000-0000-0000-0000-000000000000';
  return runStatement<FlightWaiter & Record<string, unknown>>(
    database,
    sql`select id, workflow_id as "workflowId", run_id as "runId", activity_id as "activityId" from (
        (select id, workflow_id, run_id, activity_id from volumes
          where backend = ${backend} and short_key = ${shortKey} and waits_for_flight = ${flight} and state = 'creating' and activity_id is not null
            and id > ${after} order by id limit ${limit})
        union all
        (select id, workflow_id, run_id, activity_id from flight_waiters
          where backend = ${backend} and short_key = ${shortKey} and flight = ${flight} and id > ${after} order by id limit ${limit})
      ) waiters order by id limit ${limit}`,
  );
}

/** Forgets who waited for this flight, or an earlier one, and is no volume: all are answered. Idempotent. */
export async function forgetWaiters(
  database: Database,
  { backend, shortKey, flight }: FlightKey & { flight: number },
): Promise<void> {
  await runStatement(
    database,
    sql`delete from flight_waiters where backend = ${backend} and short_key = ${shortKey} and flight <= ${flight}`,
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
  const [row] = await runStatement<{ state: VolumeState; run_id: string; waits_for_flight: number | null }>(
    transaction,
    sql`select state, run_id, waits_for_flight from volumes where id = ${volumeId} for no key update`,
  );
  if (row?.state !== 'creating' || row.run_id !== runId) throw new NotCreating(row?.state ?? 'absent');
  return row.waits_for_flight;
}

async function lockPopulation(
  transaction: Queryable,
  { backend, shortKey }: FlightKey,
): Promise<PopulationRow | undefined> {
  const [row] = await runStatement(
    transaction,
    sql`select ${columnsOf(populations)} from populations where backend = ${backend} and short_key = ${shortKey} for update`,
  );
  return row && parseRow(populations, row);
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

/** Only a refusal by policy of bytes that have the right hash is remembered beyond its flight; a passing failure, damage or a lack of room never is. */
function isRememberedRefusal({ verdict, policyVersion }: PopulationRow, request: OpenRequest): boolean {
  return isProvenRefusal(verdict) && policyVersion === request.policyVersion;
}

function isProvenRefusal(verdict: Verdict | null): boolean {
  if (verdict?.kind !== 'failed') return false;
  const { type, details } = verdict.failure;
  return type === 'ImageRefused' && details['bytesVerified'] === true;
}

async function openNextFlight(
  transaction: Queryable,
  request: OpenRequest & { volumeId?: VolumeId },
): Promise<PopulationRow> {
  const [row] = await runStatement(
    transaction,
    sql`update populations p set flight = flight + 1, verdict = null, answered_at = null, run_id = null, image_id = ${request.imageId},
        leader_volume_id = ${request.volumeId ?? null}, policy_version = ${request.policyVersion}, started_at = now()
      where backend = ${request.backend} and short_key = ${request.key.short} and ${hasKey('p', request.key)} returning ${columnsOf(populations)}`,
  );
  if (!row) throw new Error(`the locked population of ${request.key.short} on ${request.backend} is gone`);
  return parseRow(populations, row);
}

async function wait(
  transaction: Queryable,
  { request, population }: { request: FlightJoin; population: PopulationRow },
): Promise<FlightJoinOutcome> {
  await runStatement(
    transaction,
    sql`update volumes set waits_for_flight = ${population.flight}, activity_id = ${request.activityId}, updated_at = now() where id = ${request.volumeId}`,
  );
  return {
    kind: 'waiting',
    flight: population.flight,
    role: population.leaderVolumeId === request.volumeId ? 'leader' : 'joined',
    runId: population.runId,
    answeredRunId: population.answeredRunId,
  };
}
