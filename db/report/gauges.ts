import { count, sql, type SQL } from 'drizzle-orm/sql';
import { volumeStates, type VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { backends, cacheEntries, volumes } from '../schema';
import { cast, estimateRows, isLiteral, query, readRows, type RowRead } from '../statement';

/** Volumes of one state that are counted one by one; more are estimated by the planner. */
const COUNTED_VOLUMES = 10_000;

export type BackendGauges = RowRead<typeof readBackendGauges>;
export type EntryGauges = RowRead<typeof readEntryGauges>;

/** @returns each backend as a monitor sees it; the number of its volumes and entries makes no difference. */
export function readBackendGauges(database: Database) {
  const { name: backend, maxBytes, maxCount, totalBytes, freeBytes } = backends;
  const counts = {
    lowWaterBytes: cast.integer<number | null>(sql`total_bytes * free_low_water`),
    /** Creates that wait for a population. */
    waiting: cast.integer(
      sql`select count(*) from volumes v where v.backend = backends.name and v.waits_for_flight is not null`,
    ),
    /** Flights without a verdict. */
    running: cast.integer(
      sql`select count(*) from populations p where p.backend = backends.name and p.answered_at is null and p.run_id is not null`,
    ),
  };
  return query(database, (orm) =>
    orm.select({ backend, maxBytes, maxCount, totalBytes, freeBytes, ...counts }).from(backends),
  );
}

export function readEntryGauges(database: Database) {
  const { backend, state, counted } = cacheEntries;
  const sums = {
    entries: count(),
    bytes: cast.integer(sql`sum(real_bytes)`),
    /** Deleting them would give back so much, as the backend said last; until then, their bytes. */
    reclaimableBytes: cast.integer(sql`sum(coalesce(reclaimable_bytes, real_bytes))`),
  };
  const where = sql`${state} <> 'gone'`;
  return query(database, (orm) =>
    orm
      .select({ backend, state, counted, ...sums })
      .from(cacheEntries)
      .where(where)
      .groupBy(backend, state, counted),
  );
}

/**
 * @returns volumes by state: exact up to `COUNTED_VOLUMES`, an estimate beyond, so that a million of them cost what a
 * thousand do.
 */
export async function readVolumeGauges(database: Database): Promise<Record<VolumeState, number>> {
  // Each state in a statement's text of its own: only then the planner knows how rare it is.
  const most = sql.raw(String(COUNTED_VOLUMES + 1));
  const counts = volumeStates.map((state) => [
    state,
    cast.integer(
      sql`select count(*) from (select from volumes where ${isLiteral(volumes.state, state)} limit ${most}) v`,
    ),
  ]);
  const fields = Object.fromEntries(counts) as Record<VolumeState, SQL<number>>;
  const [row] = await readRows(database, fields, (columns) => sql`select ${columns}`);
  if (!row) throw new Error('the database counted no volumes');
  for (const state of volumeStates)
    if (row[state] > COUNTED_VOLUMES) {
      const estimated = await estimateRows(database, sql`select from volumes where ${isLiteral(volumes.state, state)}`);
      row[state] = Math.max(row[state], estimated);
    }
  return row;
}
