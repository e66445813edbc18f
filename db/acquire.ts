import { sql } from 'drizzle-orm';
import type { BackendName, EntryId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { LeasedEntry } from '../workflows/contract/population';
import type { VolumeState } from '../workflows/contract/volume';
import { hasKey } from './key-columns';
import type { Database } from './client';
import { cast, readRows, type Queryable } from './statement';
import { findVolume } from './volumes';
import { cloneLimitOf, nearCloneLimit } from './backends';

/** Each try that finds nothing has met a change of the volume's row. */
const RACE_TRIES = 5;

export type LeaseOutcome =
  /** `nearCloneLimit`: it has no room beyond the margin of its clone limit. */
  | { kind: 'leased'; entry: LeasedEntry; nearCloneLimit?: true }
  /** `atCloneLimit`: an entry is ready, and full. */
  | { kind: 'cold'; atCloneLimit: boolean }
  | { kind: 'collision' }
  | { kind: 'not-creating'; state: VolumeState | 'absent' };

interface Acquirement {
  volumeId: VolumeId;
  runId: string;
  backend: BackendName;
  key: CacheKey;
  /** Clones a parent may have, as this worker's driver declares it; the backend's row may allow fewer. */
  cloneLimit?: number;
}

/**
 * Leases the newest ready entry of the key that has room: the lease is the reference in the volume's row.
 * Repeated for one volume it returns the same entry and bumps nothing. Either way the volume waits for no flight any
 * more. One statement. Undo: `releaseLease`, or `markFailed`.
 */
export async function acquireEntry(database: Database, request: Acquirement): Promise<LeaseOutcome> {
  for (let attempt = 1; attempt <= RACE_TRIES; attempt += 1) {
    const row = await leaseEntry(database, request);
    if (row) return acquired(row);
    const volume = await findVolume(database, request);
    if (volume?.state !== 'creating' || volume.runId !== request.runId)
      return { kind: 'not-creating', state: volume?.state ?? 'absent' };
  }
  throw new Error(`volume ${request.volumeId} changed ${RACE_TRIES} times while its entry was acquired`);
}

/**
 * Volume first, then entry: `for update` waits for a retirement or another acquire, checks the row again and goes on to
 * the next generation when it no longer fits. A volume that has its lease joins the entry it holds.
 */
async function leaseEntry(on: Queryable, { volumeId, runId, backend, key, cloneLimit }: Acquirement) {
  const limit = cloneLimitOf(backend, cloneLimit);
  const near = nearCloneLimit(limit);
  const ofKey = sql`e.backend = ${backend} and e.short_key = ${key.short}`;
  const fields = {
    id: cast.text<EntryId | null>(sql`entry.id`),
    imageVolume: cast.text(sql`entry.image_volume`),
    virtualBytes: cast.integer(sql`entry.virtual_bytes`),
    generation: cast.integer(sql`entry.generation`),
    collision: cast.boolean(
      sql`exists (select 1 from cache_entries e where ${ofKey} and e.state <> 'gone' and not ${hasKey('e', key)})`,
    ),
    full: cast.boolean(
      sql`exists (select 1 from cache_entries e where ${ofKey} and e.state = 'ready' and e.clones >= ${limit})`,
    ),
    near: cast.boolean(sql`entry.clones >= ${near}`),
  };
  const [row] = await readRows(
    on,
    fields,
    (columns) => sql`with volume as (
      select id, image_id, project_id, entry_id, holds_entry, waits_for_flight from volumes
      where id = ${volumeId} and run_id = ${runId} and state = 'creating' for no key update
    ), kept as (
      select e.id, e.image_volume, e.virtual_bytes, e.generation, e.clones from volume v join cache_entries e on e.id = v.entry_id and v.holds_entry
    ), candidate as (
      select e.id from cache_entries e, volume v
      where not v.holds_entry and ${ofKey} and ${hasKey('e', key)} and e.state = 'ready' and e.clones < ${limit}
      order by e.generation desc limit 1 for update of e
    ), leased as (
      update cache_entries e set clones = e.clones + 1, uses = e.uses + 1, last_used_at = now() from candidate c where e.id = c.id
      returning e.id, e.image_volume, e.virtual_bytes, e.generation, e.clones
    ), marked as (
      update volumes set entry_id = coalesce(l.id, volumes.entry_id), holds_entry = volumes.holds_entry or l.id is not null,
        waits_for_flight = null, activity_id = null, updated_at = now()
      from volume v left join leased l on true
      where volumes.id = v.id and (l.id is not null or v.waits_for_flight is not null)
    ), served as (
      insert into entry_images (entry_id, image_id, project_id)
      select l.id, v.image_id, v.project_id from leased l, volume v
      where not exists (select 1 from entry_images i where i.entry_id = l.id and i.image_id = v.image_id and i.state = 'usable')
      on conflict (entry_id, image_id) do update set state = 'usable', last_seen_at = now()
    )
    select ${columns} from volume left join (select * from kept union all select * from leased) entry on true
    where entry.id is null or entry.virtual_bytes is not null`,
  );
  return row;
}

function acquired(row: NonNullable<Awaited<ReturnType<typeof leaseEntry>>>): LeaseOutcome {
  const { id, imageVolume, virtualBytes, generation, collision, full, near } = row;
  if (id !== null)
    return {
      kind: 'leased',
      entry: { id, imageVolume, virtualBytes, generation },
      ...(near && { nearCloneLimit: true }),
    };
  return collision ? { kind: 'collision' } : { kind: 'cold', atCloneLimit: full };
}
