import { sql, type SQL } from 'drizzle-orm';
import type { BackendName, HostId } from '../../workflows/contract/ids';
import { volumeStates, type VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import type { EntryState } from '../schema';
import { runStatement } from '../statement';

/** Volumes of one state that are counted one by one; what is more is what the planner knows. */
const COUNTED_VOLUMES = 10_000;

/** One backend as a monitor sees it. */
export interface BackendGauges {
  backend: BackendName;
  maxBytes: number;
  maxCount: number;
  /** Null while no worker has looked. */
  totalBytes: number | null;
  freeBytes: number | null;
  lowWaterBytes: number | null;
  /** Creates that wait for a population. */
  waiting: number;
  /** Flights without a verdict. */
  running: number;
}

/** @returns each backend; the number of its volumes and entries makes no difference. */
export function readBackendGauges(database: Database): Promise<BackendGauges[]> {
  return runStatement<BackendGauges & Record<string, unknown>>(
    database,
    sql`select b.name as backend, b.max_bytes as "maxBytes", b.max_count as "maxCount", b.total_bytes as "totalBytes", b.free_bytes as "freeBytes",
        (b.total_bytes * b.free_low_water)::bigint as "lowWaterBytes",
        (select count(*) from volumes v where v.backend = b.name and v.waits_for_flight is not null) as waiting,
        (select count(*) from populations p where p.backend = b.name and p.answered_at is null and p.run_id is not null) as running
      from backends b`,
  );
}

export interface EntryGauges {
  backend: BackendName;
  state: Exclude<EntryState, 'gone'>;
  /** Whether their bytes count against the limits. */
  counted: boolean;
  entries: number;
  bytes: number;
  /** What deleting them would give back, as the backend said last; their bytes where it was not asked yet. */
  reclaimableBytes: number;
}

export function readEntryGauges(database: Database): Promise<EntryGauges[]> {
  return runStatement<EntryGauges & Record<string, unknown>>(
    database,
    sql`select backend, state, counted, count(*) as entries, sum(real_bytes)::bigint as bytes,
        sum(coalesce(reclaimable_bytes, real_bytes))::bigint as "reclaimableBytes"
      from cache_entries where state <> 'gone' group by backend, state, counted`,
  );
}

/** @returns volumes by state: exact up to `COUNTED_VOLUMES`, an estimate beyond, so that a million of them cost what a thousand do. */
export async function readVolumeGauges(database: Database): Promise<Record<VolumeState, number>> {
  // Each state in a statement's text of its own: only then the planner knows how rare it is.
  const counted = volumeStates.map(
    (state) =>
      sql`select ${state}::text as state, count(*) as volumes from (select 1 from volumes where ${isState(state)} limit ${sql.raw(String(COUNTED_VOLUMES + 1))}) v`,
  );
  const rows = await runStatement<{ state: VolumeState; volumes: number }>(
    database,
    sql.join(counted, sql` union all `),
  );
  const found = new Map(rows.map(({ state, volumes }) => [state, volumes]));
  for (const [state, volumes] of found)
    if (volumes > COUNTED_VOLUMES) found.set(state, await estimateVolumes(database, state));
  const count = (state: VolumeState) => found.get(state) ?? 0;
  return Object.fromEntries(volumeStates.map((state) => [state, count(state)])) as Record<VolumeState, number>;
}

/** @returns the planner's estimate, which autovacuum keeps fresh. */
async function estimateVolumes(database: Database, state: VolumeState): Promise<number> {
  const [row] = await runStatement<{ 'QUERY PLAN': unknown }>(
    database,
    sql`explain (format json) select 1 from volumes where ${isState(state)}`,
  );
  return Math.max(COUNTED_VOLUMES + 1, findPlanRows(row?.['QUERY PLAN']));
}

/** @returns `Plan Rows` of the whole. Source: PostgreSQL's EXPLAIN, format JSON. */
function findPlanRows(explained: unknown): number {
  const plans = (typeof explained === 'string' ? JSON.parse(explained) : explained) as {
    Plan?: { 'Plan Rows'?: number };
  }[];
  return plans[0]?.Plan?.['Plan Rows'] ?? 0;
}

function isState(state: VolumeState): SQL {
  return sql.raw(`state = '${state}'`);
}

/** @returns bytes that this host's scratch has reserved or holds. */
export async function readScratchBytes(database: Database, { hostId }: { hostId: HostId }): Promise<number> {
  const [row] = await runStatement<{ bytes: number }>(
    database,
    sql`select coalesce(sum(greatest(bytes_reserved, bytes_real)), 0)::bigint as bytes from scratch_files where host_id = ${hostId}`,
  );
  return row?.bytes ?? 0;
}
