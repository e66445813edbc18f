import { and, eq, sql } from 'drizzle-orm/sql';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { readDatabaseTime } from '../clock';
import { cacheEntries, type BackendRow, type EntryRow } from '../schema';
import { inTransaction, isLiteral, json, query, readTable, runStatement } from '../statement';
import { lockBackend } from '../backends';

/** Rows that are scored under one lock of the backend's row. */
const BATCH_ROWS = 500;

export interface EntryScore {
  useScore: number;
  priorityBase: number;
  priority: number;
}

/**
 * Writes the scores of ready entries that were used since they were scored, or were scored `staleMs` ago. Batch by
 * batch: a reservation waits for one batch at most. Idempotent: a scored entry counts its uses once.
 * @param score pure.  @returns how many were scored.
 */
export async function scoreEntries(
  database: Database,
  request: {
    backend: BackendName;
    staleMs: number;
    /** `now`: the database's. */
    score: (entry: EntryRow, scoring: { backend: BackendRow; now: Date }) => EntryScore;
    onBatch?: (scored: number) => void;
  },
): Promise<number> {
  // Read once: an entry that is scored from here on is stale no more, so this ends.
  const now = await readDatabaseTime(database);
  let scored = 0;
  for (;;) {
    const batch = await scoreBatch(database, request, now);
    scored += batch;
    request.onBatch?.(scored);
    if (batch < BATCH_ROWS) return scored;
  }
}

function scoreBatch(
  database: Database,
  { backend: name, staleMs, score }: Parameters<typeof scoreEntries>[1],
  now: Date,
): Promise<number> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name });
    const entries = await readTable(
      transaction,
      cacheEntries,
      (columns) => sql`select ${columns} from cache_entries where backend = ${name} and state = 'ready'
        and (uses <> uses_scored or scored_at is null or scored_at < ${now.toISOString()}::timestamptz - ${staleMs}::float8 * interval '1 millisecond')
        order by id limit ${BATCH_ROWS} for no key update`,
    );
    const scores = entries.map((entry) => ({
      id: entry.id,
      uses: entry.uses,
      before: entry.usesScored,
      ...score(entry, { backend, now }),
    }));
    if (scores.length > 0)
      await runStatement(
        transaction,
        sql`update cache_entries e set uses_scored = s.uses, use_score = s."useScore", priority_base = s."priorityBase", priority = s.priority,
            scored_at = now()
          from jsonb_to_recordset(${json(scores)}) as s (id uuid, uses bigint, before bigint, "useScore" float8, "priorityBase" float8, priority float8)
          where e.id = s.id and e.uses_scored = s.before and e.state = 'ready'`,
      );
    return scores.length;
  });
}

/** @returns the image-volumes that could be deleted first, those of the lowest priority. */
export function listLowestImageVolumes(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<{ entryId: EntryId; imageVolume: string }[]> {
  const { id, imageVolume, state, clones, pinned, priority } = cacheEntries;
  const where = and(eq(cacheEntries.backend, backend), isLiteral(state, 'ready'), eq(clones, 0), eq(pinned, false));
  return query(database, (orm) =>
    orm.select({ entryId: id, imageVolume }).from(cacheEntries).where(where).orderBy(priority).limit(limit),
  );
}

/** Notes what the backend said that the deletion of each would give back. */
export async function noteReclaimable(
  database: Database,
  { found }: { found: { entryId: EntryId; bytes: number }[] },
): Promise<void> {
  if (found.length === 0) return;
  await inTransaction(database, async (transaction) => {
    // In the order in which everybody locks several entries.
    await runStatement(
      transaction,
      sql`select 1 from cache_entries where id in (select "entryId" from jsonb_to_recordset(${json(found)}) as f ("entryId" uuid)) order by id for no key update`,
    );
    await runStatement(
      transaction,
      sql`update cache_entries e set reclaimable_bytes = f.bytes from jsonb_to_recordset(${json(found)}) as f ("entryId" uuid, bytes bigint)
        where e.id = f."entryId" and e.reclaimable_bytes is distinct from f.bytes`,
    );
  });
}
