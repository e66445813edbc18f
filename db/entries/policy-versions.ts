import { sql } from 'drizzle-orm';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries } from '../schema';
import { columnsOf, parseRow, runStatement } from '../statement';
import type { EntryRow } from '../types';

/**
 * @param containers container formats that are allowed: no part of the version, since what they hold is judged in the same way.
 * @returns ready entries that were accepted under another version of the image policy than this one, or came in another container.
 */
export async function listOfOtherPolicy(
  database: Database,
  {
    backend,
    policyVersion,
    containers,
    limit,
  }: { backend: BackendName; policyVersion: string; containers: readonly string[]; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'ready'
      and (policy_version is distinct from ${policyVersion}
        or not (container_format = any (array(select jsonb_array_elements_text(${JSON.stringify(containers)}::jsonb)))))
      order by id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** Notes that a ready entry is allowed under this version too. Idempotent. */
export async function renewPolicyVersion(
  database: Database,
  { entryId, policyVersion }: { entryId: EntryId; policyVersion: string },
): Promise<void> {
  await runStatement(
    database,
    sql`update cache_entries set policy_version = ${policyVersion} where id = ${entryId} and state = 'ready'`,
  );
}
