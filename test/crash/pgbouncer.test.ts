import { sql } from 'drizzle-orm';
import { connectDatabase } from '../../db/client';
import { migrateDatabase } from '../../db/migrate';
import { ensureInstallation } from '../../db/installation';
import { cast, inTransaction, type Queryable, readRows, runStatement } from '../../db/statement';
import { startPgBouncer, type PgBouncer } from '../support/database/pgbouncer';
import { createTestDatabase, type TestDatabase } from '../support/database/postgres';

const CALLERS = 60;
const CONNECTIONS = 16;
/** Of the PgBouncer. */
const SESSIONS = 3;

let server: TestDatabase;
let bouncer: PgBouncer;

beforeAll(async () => {
  server = await createTestDatabase();
  bouncer = await startPgBouncer(server.url);
}, 400_000);
afterAll(() => bouncer.stop());
afterAll(() => server.drop());

describe('a PgBouncer in transaction mode', () => {
  it('is told apart: a URL that does not name it is refused with a sentence that says what it needs', async () => {
    const database = connectDatabase(bouncer.url, { maxConnections: 1 });
    await expect(database.ping()).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'database.url', allowed: expect.stringContaining('pgbouncer=true') },
    });
    await database.close();
  });

  it('lets workers migrate once, statements and transactions of many callers share few sessions, and leaves no lock', async () => {
    const url = `${bouncer.url}?pgbouncer=true`;
    await Promise.all([migrateDatabase(url), migrateDatabase(url)]);
    const database = connectDatabase(url, { maxConnections: CONNECTIONS });
    expect(await ensureInstallation(database)).toBe(await ensureInstallation(database));
    const ask = async (turn: number): Promise<number> => {
      const fields = { turn: cast.integer(sql`${turn}`), session: cast.integer(sql`pg_backend_pid()`) };
      const send = (on: Queryable) => readRows(on, fields, (columns) => sql`select ${columns}`);
      const rows =
        turn % 3 === 0
          ? await inTransaction(database, async (transaction) => {
              await runStatement(transaction, sql`select 1`);
              return await send(transaction);
            })
          : await send(database);
      expect(rows).toMatchObject([{ turn }]);
      return rows[0]?.session ?? 0;
    };
    const sessions = await Promise.all(Array.from({ length: CALLERS }, (_, turn) => ask(turn)));
    expect(new Set(sessions).size).toBeLessThanOrEqual(SESSIONS);
    expect(await runStatement(database, sql`select 1 from pg_locks where locktype = 'advisory'`)).toBe(0);
    await database.close();
  });
});
