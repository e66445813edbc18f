import { createHash } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { connectDatabase, type Database } from '../../../db/client';
import { registerBackend } from '../../../db/backends';
import { runStatement } from '../../../db/statement';
import { GiB } from '../../../workflows/contract/bytes';
import type { BackendName } from '../../../workflows/contract/ids';
import type { CacheKey } from '../../../workflows/contract/image';

/** Rows of one insert: well within the limit of a statement's time. */
const BATCH_ROWS = 50_000;
/** Inserting and vacuuming a million rows. */
const FILL_TIMEOUT_MS = 600_000;
const SHARES = { projects: 200, deletedOf: 50, creatingOf: 5000, heldEntriesOf: 2 } as const;

export interface Filling {
  backend: BackendName;
  entries: number;
  volumes: number;
}

/**
 * An inventory as it looks after years: entries that are ready, each used by its share of the volumes; every second one is held by its clones. Some
 * volumes are deleted, a few are being created. Not vacuumed.
 */
export async function fillInventory(
  database: Database,
  { backend, entries, volumes }: Filling,
  onProgress: (volumes: number) => void = () => {},
): Promise<void> {
  await registerBackend(database, {
    name: backend,
    driver: 'file',
    capabilities: { clone: 'instant', clonesPinParent: true },
    limits: {
      enabled: true,
      maxBytes: Number.MAX_SAFE_INTEGER,
      maxCount: 2 * entries,
      freeLowWater: 0.1,
      freeHighWater: 0.2,
      idleAgeMs: null,
      keepSuperseded: 0,
      policy: 'gdsf',
      cloneLimit: null,
    },
  });
  await insertEntries(database, { backend, entries });
  for (let from = 0; from < volumes; from += BATCH_ROWS) {
    const to = Math.min(volumes, from + BATCH_ROWS);
    await insertVolumes(database, { backend, entries, from, to });
    onProgress(to);
  }
}

/** The same for a bench, whose million rows nobody misses after a crash; vacuumed. @param url of a migrated database. */
export async function fillDatabase(url: string, filling: Filling): Promise<void> {
  const filler = connectDatabase(url, { maxConnections: 1 });
  // The rows are made to fit each other.
  await filler.sql.unsafe(
    `set session_replication_role = replica; set synchronous_commit = off; set statement_timeout = ${FILL_TIMEOUT_MS}`,
  );
  const { backend, volumes } = filling;
  await fillInventory(filler, filling, (done) => process.stderr.write(`${backend}: ${done} of ${volumes} volumes\n`));
  process.stderr.write(`${backend}: vacuum\n`);
  await filler.sql.unsafe('vacuum analyze');
  await filler.sql.unsafe('checkpoint');
  await filler.close();
}

/** @returns the key of the n-th entry, from 1 on. */
export function filledKey(n: number): CacheKey {
  return {
    containerFormat: 'bare',
    diskFormat: 'qcow2',
    hashAlgorithm: 'sha512',
    hashValue: createHash('sha512').update(`image ${n}`).digest('hex'),
    short: createHash('sha256').update(`key ${n}`).digest('hex').slice(0, 32),
  };
}

/** The same in the database; every part of it is text that can be made again. */
const hashOf = (n: ReturnType<typeof sql>) => sql`encode(sha512(('image ' || ${n})::bytea), 'hex')`;
const shortKeyOf = (n: ReturnType<typeof sql>) => sql`left(encode(sha256(('key ' || ${n})::bytea), 'hex'), 32)`;
const uuidOf = (kind: string, n: ReturnType<typeof sql>) => sql`md5(${kind}::text || ${n})::uuid`;

async function insertEntries(database: Database, { backend, entries }: Omit<Filling, 'volumes'>): Promise<void> {
  const n = sql`n::text`;
  await runStatement(
    database,
    sql`insert into cache_entries (id, backend, short_key, container_format, disk_format, hash_algorithm, hash_value, generation, state, image_volume,
        virtual_bytes, real_bytes, image_bytes, reclaimable_bytes, cost_seconds, uses, clones, priority, created_at, ready_at, last_used_at)
      select ${uuidOf('entry', n)}, ${backend}, ${shortKeyOf(n)}, 'bare', 'qcow2', 'sha512', ${hashOf(n)}, 1, 'ready', 'image-volume-' || n,
        ${10 * GiB}::bigint, (1 + n % 7) * ${GiB}::bigint, ${GiB}::bigint, ${GiB}::bigint, 10 + n % 90, n % 500,
        case when n % ${SHARES.heldEntriesOf} = 0 then 0 else 1 end, (n * 7919) % 10007, now() - n * interval '1 minute', now(), now() - (n % 1440) * interval '1 minute'
      from generate_series(1, ${entries}::int) n`,
  );
  await runStatement(
    database,
    sql`insert into entry_images (entry_id, image_id, project_id) select id, ${uuidOf('image', sql`id::text`)}::text, 'demo' from cache_entries`,
  );
}

async function insertVolumes(
  database: Database,
  { backend, entries, from, to }: { backend: BackendName; entries: number; from: number; to: number },
): Promise<void> {
  const n = sql`n::text`;
  const entry = sql`(1 + n % ${entries}::int)::text`;
  const state = sql`case when n % ${SHARES.deletedOf} = 0 then 'deleted' when n % ${SHARES.creatingOf} = 1 then 'error' else 'available' end`;
  await runStatement(
    database,
    sql`insert into volumes (id, project_id, name, backend, image_id, short_key, request, size_bytes, state, entry_id, holds_entry, workflow_id, run_id,
        outcome, connection, bootable, image_metadata, metadata, created_at, available_at)
      select ${uuidOf('volume', n)}, 'project-' || n % ${SHARES.projects}, 'root disk', ${backend}, ${uuidOf('image', entry)}::text, ${shortKeyOf(entry)},
        '{"name": "root disk"}', ${10 * GiB}::bigint, ${state}, ${uuidOf('entry', entry)}, (1 + n % ${entries}::int) % ${SHARES.heldEntriesOf} = 1 and ${state} <> 'deleted',
        'volume/' || n, 'run-' || n, 'hit', '{"driver": "file", "path": "/volumes/v.qcow2", "format": "qcow2"}', true, '{"os_distro": "debian"}', '{}',
        now() - n * interval '1 second', now()
      from generate_series(${from + 1}::int, ${to}::int) n`,
  );
}
