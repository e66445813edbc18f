import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as yieldOnce } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import type * as client from '../../../db/client';
import type { Database } from '../../../db/client';
import type * as statement from '../../../db/statement';
import { startPostgres, type PostgresServer } from '../../../worker/stack/postgres';
import { until } from '../../support/stack/flows';
import { installPackage, type InstalledPackage } from '../../support/stack/installed-package';

const CALLERS = 24;
const CONNECTIONS = 16;
const RESTARTS = 3;
const ENOUGH = 100;
/** Far above what a statement takes on a busy machine, and below the limit for a connection, which a lost caller would wait for. */
const LONGEST_MS = 30_000;
const CONNECT_TIMEOUT_SECONDS = 60;

let directory: string;
let postgres: PostgresServer;
let installed: InstalledPackage;
let database: Database;
let inTransaction: typeof statement.inTransaction;
let runStatement: typeof statement.runStatement;

function startDatabase(): Promise<PostgresServer> {
  const logPath = join(directory, 'postgres.log');
  return startPostgres({ directory: join(directory, 'postgres'), logPath, durable: false });
}

beforeAll(async () => {
  installed = await installPackage();
  const { connectDatabase } = installedModule('client');
  ({ inTransaction, runStatement } = installedModule('statement'));
  directory = await mkdtemp(join(tmpdir(), 'ivc-pg-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  postgres = await startDatabase();
  const url = `${postgres.url}?connect_timeout=${CONNECT_TIMEOUT_SECONDS}`;
  database = connectDatabase(url, { maxConnections: CONNECTIONS });
});

function installedModule<Name extends 'client' | 'statement'>(
  name: Name,
): { client: typeof client; statement: typeof statement }[Name] {
  return jest.requireActual(join(installed.directory, 'dist/db', name));
}

afterAll(async () => {
  await database.close();
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
  await installed.remove();
});

/** Callers that send statements and transactions without end, each outcome counted. */
function keepBusy() {
  const seen = { succeeded: 0, failed: 0, longestMs: 0 };
  const done = new AbortController();
  const call = async (turn: number): Promise<void> => {
    const startedMs = performance.now();
    try {
      if (turn % 3 === 0)
        await inTransaction(database, (transaction) => runStatement(transaction, sql`select ${turn}::int`));
      else await runStatement(database, sql`select ${turn}::int`);
      seen.succeeded += 1;
    } catch {
      seen.failed += 1;
    }
    seen.longestMs = Math.max(seen.longestMs, performance.now() - startedMs);
  };
  const callers = Array.from({ length: CALLERS }, async (_, index) => {
    for (let turn = index; !done.signal.aborted; turn += 1) {
      await call(turn);
      await yieldOnce();
    }
  });
  return {
    seen,
    stop: async () => {
      done.abort();
      await Promise.all(callers);
    },
  };
}

describe('the pool of an installed package whose server is restarted under load', () => {
  it('answers every statement and transaction soon, with a result or DatabaseUnavailable, and serves again', async () => {
    const busy = keepBusy();
    const { seen } = busy;
    for (let restart = 0; restart < RESTARTS; restart += 1) {
      const { succeeded } = seen;
      await until('statements to succeed', async () => seen.succeeded > succeeded + ENOUGH);
      await postgres.stop();
      const { failed } = seen;
      await until('statements to fail', async () => seen.failed > failed + ENOUGH);
      postgres = await startDatabase();
    }
    const { succeeded } = seen;
    await until('statements to succeed again', async () => seen.succeeded > succeeded + ENOUGH);
    await busy.stop();
    expect(seen.longestMs).toBeLessThan(LONGEST_MS);
  });
});
