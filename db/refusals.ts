import { sql, type SQL } from 'drizzle-orm';
import type { BackendName } from '../workflows/contract/ids';
import type { Database } from './client';
import { populations } from './schema';
import { columnsOf, parseRow, runStatement } from './statement';
import type { PopulationRow } from './types';

/** @returns the flights whose verdict is a refusal that answers later creates of the same bytes; the newest first. */
export async function listRefusals(
  database: Database,
  { backend, limit }: { backend?: BackendName; limit: number },
): Promise<PopulationRow[]> {
  const onBackend = backend === undefined ? sql`true` : sql`backend = ${backend}`;
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(populations)} from populations where ${onBackend} and ${isRemembered}
      order by answered_at desc, backend, short_key limit ${limit}`,
  );
  return rows.map((row) => parseRow(populations, row));
}

/**
 * Lets the next create of a refused key ask its bytes again. Idempotent. Undo: none is needed, the next flight finds out again.
 * @param cacheKey the short key or its beginning. @returns the short keys that are meant; only a single one is forgotten.
 */
export async function clearRefusal(
  database: Database,
  { backend, cacheKey }: { backend: BackendName; cacheKey: string },
): Promise<string[]> {
  const meant = await runStatement<{ short_key: string }>(
    database,
    sql`with meant as (
        select backend, short_key from populations where backend = ${backend} and starts_with(short_key, ${cacheKey}) and ${isRemembered}
        order by short_key limit ${MOST_MEANT} for update
      ), forgotten as (
        update populations p set verdict = p.verdict #- '{failure,details,bytesVerified}' from meant
        where p.backend = meant.backend and p.short_key = meant.short_key and (select count(*) from meant) = 1
      )
      select short_key from meant order by short_key`,
  );
  return meant.map((row) => row.short_key);
}

/** Enough to say that a beginning is ambiguous. */
const MOST_MEANT = 10;

/** As `isProvenRefusal` of `populations.ts` decides it. */
const isRemembered: SQL = sql`verdict->>'kind' = 'failed' and verdict->'failure'->>'type' = 'ImageRefused'
  and verdict->'failure'->'details'->'bytesVerified' = 'true'::jsonb`;
