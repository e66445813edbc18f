import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import type { InstallationId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { inTransaction, runStatement, type Queryable } from '../statement';

/** Gives the installation its id, once; whoever comes later gets the same. */
export async function ensureInstallation(database: Database): Promise<InstallationId> {
  await runStatement(database, sql`insert into installation (id) values (${randomUUID()}) on conflict do nothing`);
  return await readInstallation(database);
}

/**
 * Makes a database that holds nothing the inventory of installation `id` again, whose markers are on the backends. Idempotent.
 * @throws Error when it is another's inventory and holds something.
 */
export async function adoptInstallation(database: Database, id: InstallationId): Promise<void> {
  const held = await ensureInstallation(database);
  if (held === id) return;
  const adopted = await inTransaction(database, async (transaction) => {
    const rows = await runStatement(
      transaction,
      sql`update installation set id = ${id}
        where not exists (select from volumes) and not exists (select from cache_entries) returning id`,
    );
    // What its workers have claimed so far is not this installation's.
    if (rows.length > 0) await runStatement(transaction, sql`update backends set place_id = null`);
    return rows.length > 0;
  });
  if (!adopted)
    throw new Error(
      `IVC_INSTALLATION: got ${id}, but this database is the inventory of installation ${held} and holds volumes or cache entries`,
    );
}

async function readInstallation(database: Queryable): Promise<InstallationId> {
  const [row] = await runStatement<{ id: InstallationId }>(database, sql`select id from installation`);
  if (!row) throw new Error('the installation has no id');
  return row.id;
}
