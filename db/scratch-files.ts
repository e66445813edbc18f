import { sql } from 'drizzle-orm';
import type { HostId } from '../workflows/contract/ids';
import type { Database } from './client';
import { scratchFiles, type ScratchFileRow } from './schema';
import { columnsOf, inTransaction, parseRow, runStatement, type Queryable } from './statement';

interface ScratchFile {
  hostId: HostId;
  contentHash: string;
}

export type ScratchReservation = { kind: 'reserved' } | { kind: 'full'; freeBytes: number };

/**
 * Makes `user` a user of the content on the host, with `bytes` set aside for it in the host's budget before the first byte is written.
 * Idempotent for one user. Undo: `removeScratchUser`.
 */
export function reserveScratch(
  database: Database,
  { hostId, contentHash, user, bytes, maxBytes }: ScratchFile & { user: string; bytes: number; maxBytes: number },
): Promise<ScratchReservation> {
  return inTransaction(database, async (transaction) => {
    await lockHost(transaction, hostId);
    const [used] = await runStatement<{ others: number }>(
      transaction,
      sql`select coalesce(sum(greatest(bytes_reserved, bytes_real)), 0)::bigint as others from scratch_files
        where host_id = ${hostId} and content_hash <> ${contentHash}`,
    );
    const freeBytes = maxBytes - (used?.others ?? 0);
    if (bytes > freeBytes) return { kind: 'full', freeBytes: Math.max(freeBytes, 0) };
    await runStatement(
      transaction,
      sql`insert into scratch_files as f (host_id, content_hash, bytes_reserved, users) values (${hostId}, ${contentHash}, ${bytes}, array[${user}::text])
        on conflict (host_id, content_hash) do update set
          bytes_reserved = greatest(f.bytes_reserved, excluded.bytes_reserved), last_used_at = now(),
          users = array(select distinct unnest(f.users || excluded.users) order by 1)`,
    );
    return { kind: 'reserved' };
  });
}

/** Notes what the content really takes on the host. */
export async function measureScratch(
  database: Database,
  { hostId, contentHash, bytesReal }: ScratchFile & { bytesReal: number },
): Promise<void> {
  await runStatement(
    database,
    sql`update scratch_files set bytes_real = ${bytesReal}, bytes_reserved = ${bytesReal} where host_id = ${hostId} and content_hash = ${contentHash}`,
  );
}

/** Takes one user off; repeated it answers the same. @returns whether nobody uses the content any more. */
export async function removeScratchUser(
  database: Database,
  { hostId, contentHash, user }: ScratchFile & { user: string },
): Promise<{ lastUser: boolean }> {
  const [row] = await runStatement<{ left: number }>(
    database,
    sql`update scratch_files set users = array_remove(users, ${user}), last_used_at = now()
      where host_id = ${hostId} and content_hash = ${contentHash} returning cardinality(users) as left`,
  );
  return { lastUser: row?.left === 0 };
}

/** Forgets content that nobody uses; call it before the file is removed. @returns false when somebody uses it again: leave the file alone. */
export function forgetScratch(database: Database, { hostId, contentHash }: ScratchFile): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    await lockHost(transaction, hostId);
    const used = await runStatement(
      transaction,
      sql`with forgotten as (delete from scratch_files where host_id = ${hostId} and content_hash = ${contentHash} and users = '{}')
        select 1 from scratch_files where host_id = ${hostId} and content_hash = ${contentHash} and users <> '{}'`,
    );
    return used.length === 0;
  });
}

/** Forgets a host's rows whose content it does not hold, whoever uses them: for its worker's start, when nothing of the host runs. */
export function forgetMissingScratch(
  database: Database,
  { hostId, present }: { hostId: HostId; present: string[] },
): Promise<void> {
  return inTransaction(database, async (transaction) => {
    await lockHost(transaction, hostId);
    await runStatement(
      transaction,
      sql`delete from scratch_files where host_id = ${hostId}
        and not (content_hash = any(array(select jsonb_array_elements_text(${JSON.stringify(present)}::jsonb))))`,
    );
  });
}

export async function listScratch(database: Database, { hostId }: { hostId: HostId }): Promise<ScratchFileRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(scratchFiles)} from scratch_files where host_id = ${hostId} order by last_used_at, content_hash`,
  );
  return rows.map((row) => parseRow(scratchFiles, row));
}

/** A host has no row of its own: an advisory lock until the transaction's end stands for it. */
async function lockHost(transaction: Queryable, hostId: HostId): Promise<void> {
  await runStatement(transaction, sql`select pg_advisory_xact_lock(hashtextextended(${`scratch/${hostId}`}, 0))`);
}
/** @returns the hosts that hold scratch files, as far as the inventory knows. */
export async function listScratchHosts(database: Database): Promise<HostId[]> {
  const rows = await runStatement<{ hostId: HostId }>(
    database,
    sql`select distinct host_id as "hostId" from scratch_files order by 1`,
  );
  return rows.map(({ hostId }) => hostId);
}
