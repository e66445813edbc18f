import { sql } from 'drizzle-orm/sql';
import type { BackendName, EntryId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { LeasedEntry } from '../workflows/contract/population';
import type { VolumeState } from '../workflows/contract/volume';
import { hasKey } from './key-columns';
import type { Database } from './client';
import { cast, isOneOf, readRows, type Queryable, type RowRead } from './statement';
import { readVolumes } from './volumes';
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
  runId: string;
  backend: BackendName;
  key: CacheKey;
  /** Clones a parent may have, as this worker's driver declares it; the backend's row may allow fewer. */
  cloneLimit?: number;
}

/** As `acquireEntries`, for one volume. */
export async function acquireEntry(
  database: Database,
  { volumeId, ...request }: Acquirement & { volumeId: VolumeId },
): Promise<LeaseOutcome> {
  const acquired = await acquireEntries(database, { ...request, volumeIds: [volumeId] });
  return acquired.get(volumeId) ?? { kind: 'not-creating', state: 'absent' };
}

/**
 * Takes the newest ready entry of the key that has room and writes it into the volumes' rows: that reference is the lease. Repeated for one volume it
 * returns the same entry and bumps nothing. Either way a volume waits for no flight any more. One statement for each entry that is taken, whatever the
 * number of volumes: those that one has no room for go to the generation before it.
 * Undo: `releaseLease`, or `markFailed`.
 */
export async function acquireEntries(
  database: Database,
  request: Acquirement & { volumeIds: readonly VolumeId[] },
): Promise<Map<VolumeId, LeaseOutcome>> {
  const outcomes = new Map<VolumeId, LeaseOutcome>();
  let volumeIds = [...new Set(request.volumeIds)];
  for (let races = 0; volumeIds.length > 0;) {
    const rows = await leaseEntries(database, { ...request, volumeIds });
    for (const row of rows) outcomes.set(row.volumeId, toOutcome(row));
    const missing = volumeIds.filter((id) => !rows.some(({ volumeId }) => volumeId === id));
    const tookSome = rows.some(({ taken }) => taken);
    const cold = rows.filter(({ id }) => id === null).map(({ volumeId }) => volumeId);
    volumeIds = [...(await stillCreating(database, { ...request, missing, outcomes })), ...(tookSome ? cold : [])];
    if (!tookSome && volumeIds.length > 0) races += 1;
    if (races === RACE_TRIES)
      throw new Error(`volume ${volumeIds.join(', ')} changed ${RACE_TRIES} times while its entry was acquired`);
  }
  return outcomes;
}

/** @returns those that a change of their rows has kept from the statement; the others are this run's no more. */
async function stillCreating(
  database: Database,
  { missing, runId, outcomes }: { missing: readonly VolumeId[]; runId: string; outcomes: Map<VolumeId, LeaseOutcome> },
): Promise<VolumeId[]> {
  const rows = await readVolumes(database, missing);
  return missing.filter((volumeId) => {
    const row = rows.get(volumeId);
    if (row?.state === 'creating' && row.runId === runId) return true;
    outcomes.set(volumeId, { kind: 'not-creating', state: row?.state ?? 'absent' });
    return false;
  });
}

/**
 * Volumes first, then entry: `for update` waits for whoever retires or takes the entry, checks the row anew and goes on to the next generation when
 * it no longer fits. A volume that has its lease joins the entry it holds.
 */
function leaseEntries(
  on: Queryable,
  { volumeIds, runId, backend, key, cloneLimit }: Acquirement & { volumeIds: readonly VolumeId[] },
) {
  const limit = cloneLimitOf(backend, cloneLimit);
  const near = nearCloneLimit(limit);
  const ofKey = sql`e.backend = ${backend} and e.short_key = ${key.short}`;
  const fields = {
    volumeId: cast.text<VolumeId>(sql`v.id`),
    id: cast.text<EntryId | null>(sql`entry.id`),
    imageVolume: cast.text(sql`entry.image_volume`),
    virtualBytes: cast.integer(sql`entry.virtual_bytes`),
    generation: cast.integer(sql`entry.generation`),
    /** Whether this very statement has leased it. */
    taken: cast.boolean<boolean | null>(sql`entry.taken`),
    collision: cast.boolean(
      sql`exists (select 1 from cache_entries e where ${ofKey} and e.state <> 'gone' and not ${hasKey('e', key)})`,
    ),
    full: cast.boolean(
      sql`exists (select 1 from cache_entries e where ${ofKey} and e.state = 'ready' and e.clones >= ${limit})`,
    ),
    near: cast.boolean(sql`entry.clones >= ${near}`),
  };
  return readRows(
    on,
    fields,
    (columns) => sql`with volume as (
      select id, image_id, project_id, entry_id, holds_entry, waits_for_flight from volumes
      where ${isOneOf(sql`id`, volumeIds)} and run_id = ${runId} and state = 'creating' order by id for no key update
    ), kept as (
      select v.id as volume_id, e.id, e.image_volume, e.virtual_bytes, e.generation, e.clones, false as taken
      from volume v join cache_entries e on e.id = v.entry_id and v.holds_entry
    ), wanting as (
      select id, row_number() over (order by id) as place from volume where not holds_entry
    ), wanted as (
      select count(*)::int as volumes from wanting
    ), candidate as (
      select e.id, least(${limit} - e.clones, w.volumes) as places from cache_entries e, wanted w
      where w.volumes > 0 and ${ofKey} and ${hasKey('e', key)} and e.state = 'ready' and e.clones < ${limit}
      order by e.generation desc limit 1 for update of e
    ), leased as (
      update cache_entries e set clones = e.clones + c.places, uses = e.uses + c.places, last_used_at = now() from candidate c where e.id = c.id
      returning e.id, e.image_volume, e.virtual_bytes, e.generation, e.clones, c.places
    ), given as (
      select w.id as volume_id, l.id, l.image_volume, l.virtual_bytes, l.generation, l.clones, true as taken
      from leased l join wanting w on w.place <= l.places
    ), marked as (
      update volumes set entry_id = coalesce(g.id, volumes.entry_id), holds_entry = volumes.holds_entry or g.id is not null,
        waits_for_flight = null, activity_id = null, updated_at = now()
      from volume v left join given g on g.volume_id = v.id
      where volumes.id = v.id and (g.id is not null or v.waits_for_flight is not null)
    ), served as (
      insert into entry_images (entry_id, image_id, project_id)
      select distinct on (g.id, v.image_id) g.id, v.image_id, v.project_id from given g join volume v on v.id = g.volume_id
      where not exists (select 1 from entry_images i where i.entry_id = g.id and i.image_id = v.image_id and i.state = 'usable')
      on conflict (entry_id, image_id) do update set state = 'usable', last_seen_at = now()
    )
    select ${columns}
    from volume v left join (select * from kept union all select * from given) entry on entry.volume_id = v.id
    where entry.id is null or entry.virtual_bytes is not null`,
  );
}

function toOutcome(row: RowRead<typeof leaseEntries>): LeaseOutcome {
  const { id, imageVolume, virtualBytes, generation, collision, full, near } = row;
  if (id !== null)
    return {
      kind: 'leased',
      entry: { id, imageVolume, virtualBytes, generation },
      ...(near && { nearCloneLimit: true }),
    };
  return collision ? { kind: 'collision' } : { kind: 'cold', atCloneLimit: full };
}
