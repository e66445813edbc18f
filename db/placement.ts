import { sql } from 'drizzle-orm/sql';
import type { BackendName, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import { NO_LIMIT } from './backends';
import type { Database } from './client';
import { hasKey } from './key-columns';
import { cast, readRows, recordset } from './statement';

/** A backend that a volume may be made on, in view of what is to be made. */
export interface BackendView {
  backend: BackendName;
  /** The request was admitted there before, for this reason. */
  isOwn: boolean;
  ownPlacement: string | null;
  /** Whether its volumes may grow by as much, as far as its row tells. */
  hasRoom: boolean;
  /** A ready entry takes a clone. */
  isReady: boolean;
  isPopulating: boolean;
  /** Null before the first measurement by a worker. */
  freeBytes: number | null;
}

interface Viewing {
  candidates: readonly { backend: BackendName; overSubscription: number }[];
  key: CacheKey;
  volumeId: VolumeId;
  projectId: ProjectId;
  /** Of all volumes that are asked for; 0 where that is not known yet. */
  sizeBytes: number;
}

/** @returns what is known of each candidate that a worker has registered, at this moment: nothing is locked. One statement. */
export function viewBackends(
  database: Database,
  { candidates, key, volumeId, projectId, sizeBytes }: Viewing,
): Promise<BackendView[]> {
  const given = candidates.map(({ backend, overSubscription }) => ({ name: backend, over: overSubscription }));
  const limit = sql`coalesce(least((b.capabilities ->> 'cloneLimit')::int, b.clone_limit), ${sql.raw(String(NO_LIMIT))})`;
  const promised = sql`(select coalesce(sum(p.bytes), 0) from backend_promises p where p.backend = b.name)`;
  const fields = {
    backend: cast.text<BackendName>(sql`b.name`),
    isOwn: cast.boolean(sql`own.id is not null`),
    ownPlacement: cast.text<string | null>(sql`own.placement`),
    hasRoom: cast.boolean(
      sql`b.total_bytes is null or ${promised} + ${sizeBytes}::bigint <= floor(b.total_bytes * given.over)`,
    ),
    isReady:
      cast.boolean(sql`exists (select 1 from cache_entries e where e.backend = b.name and e.short_key = ${key.short}
      and ${hasKey('e', key)} and e.state = 'ready' and e.clones < ${limit})`),
    isPopulating: cast.boolean(
      sql`exists (select 1 from populations p where p.backend = b.name and p.short_key = ${key.short} and p.verdict is null)`,
    ),
    freeBytes: cast.integer<number | null>(sql`b.free_bytes`),
  };
  return readRows(
    database,
    fields,
    (
      columns,
    ) => sql`select ${columns} from ${recordset(given, sql`name text, over float8`)} join backends b on b.name = given.name
      left join volumes own on own.id = ${volumeId} and own.project_id = ${projectId} and own.backend = b.name and own.state in ('creating', 'available', 'error')`,
  );
}
