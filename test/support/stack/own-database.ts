import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectDatabase, type Database } from '../../../db/client';
import { startPostgres, type PostgresServer } from '../../../worker/stack/postgres';
import { flowsOf, type FlowStack } from './flows';
import { startStack, type Stack } from './stack';

/** A stack for a whole test file on a PostgreSQL that nobody else uses, so that it may be stopped and killed. */
export interface OwnDatabaseStack {
  flow: FlowStack;
  /** The server that was started last. */
  server: () => PostgresServer;
  /** Starts it again, when it has ended. */
  restart: () => Promise<void>;
}

export function useStackWithOwnDatabase(): OwnDatabaseStack {
  let directory: string;
  let postgres: PostgresServer | undefined;
  let database: Database | undefined;
  let stack: Stack | undefined;
  const start = (): Promise<PostgresServer> =>
    startPostgres({ directory: join(directory, 'postgres'), logPath: join(directory, 'postgres.log'), durable: false });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-pg-'));
    // As root the database runs as another user, who must be able to pass through.
    chmodSync(directory, 0o711);
    postgres = await start();
    stack = await startStack({ config: { database: { url: postgres.url } } });
    database = connectDatabase(postgres.url, { maxConnections: 4, applicationName: 'test' });
  });

  afterAll(async () => {
    // What was started is stopped, also when a later start failed.
    await stack?.stop();
    await database?.close();
    await postgres?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  return {
    flow: flowsOf({
      stack: () => {
        if (stack === undefined || database === undefined) throw new Error('the stack is not up');
        return { ...stack, database };
      },
      directory: () => directory,
    }),
    server: () => {
      if (postgres === undefined) throw new Error('no database runs');
      return postgres;
    },
    restart: async () => {
      postgres = await start();
    },
  };
}
