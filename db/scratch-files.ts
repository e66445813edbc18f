import { and, eq, ne, sql } from 'drizzle-orm/sql';
import type { HostId } from '../workflows/contract/ids';
import type { Database } from './client';
import { scratchFiles, type ScratchFileRow } from './schema';
import { cast, inTransaction, query, runStatement, texts, type Queryable, transactionTime } from './statement';

interface ScratchFile {
  hostId: HostId;
  contentHash: string;
}

/** Bytes that are reserved or there. */
const heldBytes = cast.integer(sql`coalesce(sum(greatest(bytes_reserved, bytes_real)), 0)`);

function isFile({ hostId, contentHash }: ScratchFile) {
  return and(eq(scratchFiles.hostId, hostId), eq(scratchFiles.contentHash, contentHash));
}

/** @returns bytes that this host's scratch has reserved or holds. */
export async function readScratchBytes(database: Database, { hostId }: { hostId: HostId }): Promise<number> {
  const [row] = await query(database, (orm) =>
    orm.select({ bytes: heldBytes }).from(scratchFiles).where(eq(scratchFiles.hostId, hostId)),
  );
  return row?.bytes ?? 0;
}

export type ScratchReservation = { kind: 'reserved' } | { kind: 'full'; freeBytes: number };

/**
 * Makes `user` a user of the content on the host, with `bytes` set aside for it in the host's budget before the first
 * byte is written. Idempotent for one user. Undo: `removeScratchUser`.
 */
export function reserveScratch(
  database: Database,
  { hostId, contentHash, user, bytes, maxBytes }: ScratchFile & { user: string; bytes: number; maxBytes: number },
): Promise<ScratchReservation> {
  return inTransaction(database, async (transaction) => {
    await lockHost(transaction, hostId);
    const where = and(eq(scratchFiles.hostId, hostId), ne(scratchFiles.contentHash, contentHash));
    const [others] = await query(transaction, (orm) =>
      orm.select({ bytes: heldBytes }).from(scratchFiles).where(where),
    );
    const freeBytes = maxBytes - (others?.bytes ?? 0);
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

/** Notes the content's real bytes on the host. */
export async function measureScratch(
  database: Database,
  { hostId, contentHash, bytesReal }: ScratchFile & { bytesReal: number },
): Promise<void> {
  await query(database, (orm) =>
    orm.update(scratchFiles).set({ bytesReal, bytesReserved: bytesReal }).where(isFile({ hostId, contentHash })),
  );
}

/** Repeated it answers the same. @returns whether nobody uses the content any more. */
export async function removeScratchUser(
  database: Database,
  { hostId, contentHash, user }: ScratchFile & { user: string },
): Promise<{ lastUser: boolean }> {
  const [row] = await query(database, (orm) =>
    orm
      .update(scratchFiles)
      .set({ users: sql`array_remove(users, ${user})`, lastUsedAt: transactionTime })
      .where(isFile({ hostId, contentHash }))
      .returning({ left: cast.integer(sql`cardinality(users)`) }),
  );
  return { lastUser: row?.left === 0 };
}

/**
 * Forgets content that nobody uses; call it before the file is removed. @returns false when somebody uses it again:
 * leave the file alone.
 */
export function forgetScratch(database: Database, { hostId, contentHash }: ScratchFile): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    await lockHost(transaction, hostId);
    const used = await runStatement(
      transaction,
      sql`with forgotten as (delete from scratch_files where host_id = ${hostId} and content_hash = ${contentHash} and users = '{}')
        select 1 from scratch_files where host_id = ${hostId} and content_hash = ${contentHash} and users <> '{}'`,
    );
    return used === 0;
  });
}

/**
 * Forgets a host's rows whose content it does not hold, whoever uses them: for its worker's start, when nothing of the
 * host runs.
 */
export function forgetMissingScratch(
  database: Database,
  { hostId, present }: { hostId: HostId; present: string[] },
): Promise<void> {
  return inTransaction(database, async (transaction) => {
    await lockHost(transaction, hostId);
    const where = and(eq(scratchFiles.hostId, hostId), sql`not (${scratchFiles.contentHash} = any(${texts(present)}))`);
    await query(transaction, (orm) => orm.delete(scratchFiles).where(where));
  });
}

/** @returns what the host's scratch has reserved or holds, what was used longest ago first. */
export function listScratch(database: Database, { hostId }: { hostId: HostId }): Promise<ScratchFileRow[]> {
  const { lastUsedAt, contentHash } = scratchFiles;
  return query(database, (orm) =>
    orm.select().from(scratchFiles).where(eq(scratchFiles.hostId, hostId)).orderBy(lastUsedAt, contentHash),
  );
}

/** A host has no row of its own: an advisory lock until the transaction's end stands for it. */
async function lockHost(transaction: Queryable, hostId: HostId): Promise<void> {
  await runStatement(transaction, sql`select pg_advisory_xact_lock(hashtextextended(${`scratch/${hostId}`}, 0))`);
}

/** @returns the hosts that hold scratch files, as far as the inventory knows. */
export async function listScratchHosts(database: Database): Promise<HostId[]> {
  const { hostId } = scratchFiles;
  const rows = await query(database, (orm) => orm.selectDistinct({ hostId }).from(scratchFiles).orderBy(hostId));
  return rows.map((row) => row.hostId);
}
