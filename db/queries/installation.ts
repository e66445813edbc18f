import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import type { InstallationId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { runStatement } from '../statement';

/** Gives the installation its id, once; whoever comes later gets the same. */
export async function ensureInstallation(database: Database): Promise<InstallationId> {
  await runStatement(database, sql`insert into installation (id) values (${randomUUID()}) on conflict do nothing`);
  const [row] = await runStatement<{ id: InstallationId }>(database, sql`select id from installation`);
  if (!row) throw new Error('the installation has no id');
  return row.id;
}
