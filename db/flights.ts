import { and, desc, eq, inArray, isNotNull, isNull, lte, sql, type SQL } from 'drizzle-orm/sql';
import type { FailureRecord } from '../workflows/contract/failures';
import type { BackendName, ImageId, VolumeId } from '../workflows/contract/ids';
import type { Verdict } from '../workflows/contract/population';
import type { Database } from './client';
import type { EventSource } from './events';
import { flightWaiters, populations, type PopulationRow } from './schema';
import { inTransaction, json, query, readRows, readTable, runStatement, type Queryable } from './statement';

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
 * A run makes the key's flight its own, as the first thing it does. A run that finds it answered is noted as one that
 * accepts no waiters.
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
    await query(transaction, (orm) =>
      orm
        .update(populations)
        .set(verdict ? { answeredRunId: runId } : { runId })
        .where(isOfKey({ backend, shortKey })),
    );
    return { flight, imageId, leaderVolumeId, ...(verdict && { answered: verdict }) };
  });
}

export type FlightRow = PopulationRow & { answered: boolean };

export async function findFlight(database: Database, key: FlightKey): Promise<FlightRow | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(populations).where(isOfKey(key)));
  return row && { ...row, answered: row.answeredAt !== null };
}

function isOfKey({ backend, shortKey }: FlightKey): SQL | undefined {
  return and(eq(populations.backend, backend), eq(populations.shortKey, shortKey));
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
      where backend = ${backend} and short_key = ${shortKey} and flight = ${flight} and answered_at is null and coalesce(run_id, ${runId}) = ${runId}`,
  );
  if (answered > 0) return true;
  const found = await findFlight(database, { backend, shortKey });
  return found?.flight === flight && found.answered && found.answeredRunId === runId;
}

/** The verdict of a flight for which nobody waits: no waiter ever reads it. */
const unwanted: FailureRecord = {
  type: 'CreateCancelled',
  message: 'every create that waited for this population has ended',
  details: {},
};

/**
 * Answers a flight that a volume opened, for which none waits and whose download is not done, so that nobody joins it
 * any more. Repeated it is the same.
 * @returns the run that is to be cancelled, where one has claimed the flight; undefined when the flight is to go on, or
 * has another answer.
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

/** @returns whether anything waits for the flight, or its bytes are all on a host: then little is left to do. */
async function isWanted(
  transaction: Queryable,
  { backend, shortKey, flight, workflowId }: FlightKey & { flight: number; workflowId: string },
): Promise<boolean> {
  const reasons = await runStatement(
    transaction,
    sql`select 1 where exists (select 1 from volumes
          where backend = ${backend} and short_key = ${shortKey} and waits_for_flight = ${flight} and state = 'creating')
        or exists (select 1 from flight_waiters where backend = ${backend} and short_key = ${shortKey} and flight = ${flight})
        or exists (select 1 from scratch_files where ${workflowId} = any (users) and bytes_real is not null)`,
  );
  return reasons > 0;
}

/** @returns the flights of these backends that a run has claimed and not answered. */
export function listRunningFlights(
  database: Database,
  { backends }: { backends: readonly BackendName[] },
): Promise<FlightKey[]> {
  const where = and(
    inArray(populations.backend, [...backends]),
    isNull(populations.answeredAt),
    isNotNull(populations.runId),
  );
  return query(database, (orm) =>
    orm
      .select({ backend: populations.backend, shortKey: populations.shortKey })
      .from(populations)
      .where(where)
      .orderBy(populations.startedAt),
  );
}

export interface FlightWaiter extends WaitingActivity {
  /** Of the volume, or of the waiter's own row. */
  id: string;
}

/** @returns up to `limit` waiters of this flight, volumes and others, by id from `afterId` on. */
export async function waitersOf(
  database: Database,
  { backend, shortKey, flight, limit, afterId }: FlightKey & { flight: number; limit: number; afterId?: string },
): Promise<FlightWaiter[]> {
  const after = afterId ?? '00000000-0000-0000-0000-000000000000';
  const { id, workflowId, runId, activityId } = flightWaiters;
  return readRows(
    database,
    { id, workflowId, runId, activityId },
    (columns) => sql`select ${columns} from (
        (select id, workflow_id, run_id, activity_id from volumes
          where backend = ${backend} and short_key = ${shortKey} and waits_for_flight = ${flight} and state = 'creating' and activity_id is not null
            and id > ${after} order by id limit ${limit})
        union all
        (select id, workflow_id, run_id, activity_id from flight_waiters
          where backend = ${backend} and short_key = ${shortKey} and flight = ${flight} and id > ${after} order by id limit ${limit})
      ) waiters order by id limit ${limit}`,
  );
}

/** Forgets the waiters of this flight and of earlier ones that are no volumes: all are answered. Idempotent. */
export async function forgetWaiters(
  database: Database,
  { backend, shortKey, flight }: FlightKey & { flight: number },
): Promise<void> {
  const { backend: ofBackend, shortKey: ofKey, flight: ofFlight } = flightWaiters;
  const where = and(eq(ofBackend, backend), eq(ofKey, shortKey), lte(ofFlight, flight));
  await query(database, (orm) => orm.delete(flightWaiters).where(where));
}

export async function lockPopulation(
  transaction: Queryable,
  { backend, shortKey }: FlightKey,
): Promise<PopulationRow | undefined> {
  const [row] = await readTable(
    transaction,
    populations,
    (columns) =>
      sql`select ${columns} from populations where backend = ${backend} and short_key = ${shortKey} for update`,
  );
  return row;
}

export function isProvenRefusal(verdict: Verdict | null): boolean {
  if (verdict?.kind !== 'failed') return false;
  const { type, details } = verdict.failure;
  return type === 'ImageRefused' && details['bytesVerified'] === true;
}

/** Enough to say that a beginning is ambiguous. */
const MOST_MEANT = 10;
/** As `isProvenRefusal` decides it. */
const isRemembered: SQL = sql`verdict->>'kind' = 'failed' and verdict->'failure'->>'type' = 'ImageRefused'
  and verdict->'failure'->'details'->'bytesVerified' = 'true'::jsonb`;
/** @returns the flights whose verdict is a refusal that answers later creates of the same bytes; the newest first. */
export function listRefusals(
  database: Database,
  { backend, limit }: { backend?: BackendName; limit: number },
): Promise<PopulationRow[]> {
  const where = and(backend && eq(populations.backend, backend), isRemembered);
  return query(database, (orm) =>
    orm
      .select()
      .from(populations)
      .where(where)
      .orderBy(desc(populations.answeredAt), populations.backend, populations.shortKey)
      .limit(limit),
  );
}

/**
 * Forgets a refusal: the next create of the key reads the bytes again. Idempotent. Undo: none, the next flight finds it
 * again.
 * @param cacheKey the short key or its beginning. @returns the short keys that are meant; only a single one is
 * forgotten.
 */
export async function clearRefusal(
  database: Database,
  { backend, cacheKey, source }: { backend: BackendName; cacheKey: string; source: EventSource },
): Promise<string[]> {
  const { by, requestId, workflowId, runId } = source;
  const meant = await readRows(
    database,
    { shortKey: populations.shortKey },
    (columns) => sql`with meant as (
        select backend, short_key from populations where backend = ${backend} and starts_with(short_key, ${cacheKey}) and ${isRemembered}
        order by short_key limit ${MOST_MEANT} for update
      ), forgotten as (
        update populations p set verdict = p.verdict #- '{failure,details,bytesVerified}' from meant
        where p.backend = meant.backend and p.short_key = meant.short_key and (select count(*) from meant) = 1
        returning p.backend, p.short_key, p.image_id
      ), noted as (
        insert into events (kind, object, requested_by, request_id, image_id, backend, workflow_id, run_id)
        select 'refusal.forgotten', short_key, ${by ?? null}::text, ${requestId ?? null}::text, image_id, backend, ${workflowId}::text, ${runId}::text
        from forgotten on conflict (workflow_id, run_id, kind, object) do nothing
      )
      select ${columns} from meant order by short_key`,
  );
  return meant.map(({ shortKey }) => shortKey);
}

/** The activity that a flight's end completes. */
export interface WaitingActivity {
  workflowId: string;
  runId: string;
  activityId: string;
}
