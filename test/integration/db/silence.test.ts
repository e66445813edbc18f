import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { connectDatabase, type Database } from '../../../db/client';
import { inTransaction, runStatement } from '../../../db/statement';
import { startPostgres, type PostgresServer } from '../../../worker/stack/postgres';
import { Failure } from '../../../workflows/contract/failures';
import { until } from '../../support/stack/flows';
import { signalPostgres } from '../../support/database/postgres-processes';
import { startTcpGate, type TcpGate } from '../../support/machine/tcp-gate';

const CONNECTIONS = 4;
const LIMITS = { limitsMs: { statement_timeout: 300 }, silenceMarginMs: 2000 };
const CONNECT_TIMEOUT_SECONDS = 2;

let directory: string;
let postgres: PostgresServer;
let gate: TcpGate;
let database: Database;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-pg-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  const logPath = join(directory, 'postgres.log');
  postgres = await startPostgres({ directory: join(directory, 'postgres'), logPath, durable: false });
  gate = await startTcpGate(join(postgres.socketDirectory, '.s.PGSQL.5432'));
});

afterAll(async () => {
  await gate.close();
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
});

beforeEach(() => {
  database = connectDatabase(throughGate(postgres.url), { maxConnections: CONNECTIONS, ...LIMITS });
});

afterEach(async () => {
  gate.speak();
  await database.close();
});

function throughGate(url: string): string {
  return `${url.replace(/@[^/]*/, `@127.0.0.1:${gate.port}`)}?connect_timeout=${CONNECT_TIMEOUT_SECONDS}`;
}

/** Statements and transactions on every connection, and some that wait for one. */
function keepAllBusy(): Promise<string | undefined>[] {
  const statements = Array.from({ length: 2 * CONNECTIONS }, () => runStatement(database, sql`select ${1}::int`));
  const transactions = Array.from({ length: CONNECTIONS }, () =>
    inTransaction(database, (transaction) => runStatement(transaction, sql`select 2`)),
  );
  return [...statements, ...transactions].map(failureOf);
}

/** As many transactions at once as there are connections: each waits until all have begun. */
async function expectAllConnections(): Promise<void> {
  let begun = 0;
  const all = meeting();
  const meet = () =>
    inTransaction(database, async (transaction) => {
      await runStatement(transaction, sql`select 3`);
      begun += 1;
      if (begun === CONNECTIONS) all.resolve();
      await all.promise;
    });
  await Promise.all(Array.from({ length: CONNECTIONS }, meet));
}

function meeting(): { promise: Promise<void>; resolve(): void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function startClosingServer(): Promise<{ port: number; close(): void }> {
  const server = createServer((socket) => socket.on('error', () => undefined).end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, close: () => server.close() };
}

const unavailable = Array(3 * CONNECTIONS).fill('DatabaseUnavailable');

describe('a database that falls silent', () => {
  it('fails what it owes an answer to and what waits behind it, and is reached again on every connection', async () => {
    await expectAllConnections();
    gate.fallSilent();
    expect(await Promise.all(keepAllBusy())).toEqual(unavailable);
    gate.speak();
    await until('the database to be reached', async () => (await failureOf(database.ping())) === undefined);
    await expectAllConnections();
  });

  it('fails a transaction in its middle, and its connection serves the next one', async () => {
    const one = connectDatabase(throughGate(postgres.url), { maxConnections: 1, ...LIMITS });
    const cut = inTransaction(one, async (transaction) => {
      await runStatement(transaction, sql`select 1`);
      gate.fallSilent();
      await runStatement(transaction, sql`select 2`);
    });
    expect(await failureOf(cut)).toBe('DatabaseUnavailable');
    gate.speak();
    await until('the database to be reached', async () => (await failureOf(one.ping())) === undefined);
    expect(await inTransaction(one, (transaction) => runStatement(transaction, sql`select 4`))).toBe(1);
    await one.close();
  });

  it('is closed nevertheless, and what runs then fails', async () => {
    await expectAllConnections();
    gate.fallSilent();
    const running = keepAllBusy();
    await database.close();
    expect(await Promise.all(running)).toEqual(unavailable);
  });

  it('fails a statement whose connection is taken and closed again at once, as a proxy does whose server is gone', async () => {
    await gate.close();
    const closing = await startClosingServer();
    const behind = connectDatabase(postgres.url.replace(/@[^/]*/, `@127.0.0.1:${closing.port}`), { maxConnections: 1 });
    expect(await failureOf(runStatement(behind, sql`select 1`))).toBe('DatabaseUnavailable');
    await behind.close();
    closing.close();
    await gate.open();
  });

  it('is reached again when its stopped processes go on', async () => {
    await expectAllConnections();
    signalPostgres(join(directory, 'postgres'), 'SIGSTOP');
    try {
      expect(await failureOf(database.ping())).toBe('DatabaseUnavailable');
      expect(await Promise.all(keepAllBusy())).toEqual(unavailable);
    } finally {
      signalPostgres(join(directory, 'postgres'), 'SIGCONT');
    }
    await until('the database to be reached', async () => (await failureOf(database.ping())) === undefined);
    await expectAllConnections();
  });
});

/** @returns the type of the failure that `work` ends with, undefined when it succeeds. */
async function failureOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof Failure) return error.type;
    throw error;
  }
}
