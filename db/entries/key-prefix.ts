import { sql } from 'drizzle-orm';
import type { BackendName } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { runStatement } from '../statement';

/** More than a refusal names. */
const MOST_KEYS = 6;

/**
 * @param prefix hex digits. @returns the short keys of the backend's entries that begin so, at most six: of those that are there, else of those that
 *   are gone.
 */
export async function findKeysBeginning(
  database: Database,
  { backend, prefix }: { backend: BackendName; prefix: string },
): Promise<string[]> {
  // A range, which the index of a backend's keys begins in; "g" follows all that a key is written with.
  const rows = await runStatement<{ shortKey: string; isThere: boolean }>(
    database,
    sql`select short_key as "shortKey", bool_or(state <> 'gone') as "isThere" from cache_entries
      where backend = ${backend} and short_key >= ${prefix} and short_key < ${`${prefix}g`} and starts_with(short_key, ${prefix})
      group by short_key order by bool_or(state <> 'gone') desc, short_key limit ${MOST_KEYS}`,
  );
  const there = rows.filter(({ isThere }) => isThere);
  return (there.length > 0 ? there : rows).map(({ shortKey }) => shortKey);
}
