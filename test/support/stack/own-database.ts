import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { startPostgres, type PostgresServer } from '../../../worker/stack/postgres';
import { useStack, type FlowStack } from './flows';
import type { StackOptions } from './stack';

/** A stack for a whole test file on a PostgreSQL that nobody else uses, so that it may be stopped and killed. */
export interface OwnDatabaseStack {
  flow: FlowStack;
  /** The server that was started last. */
  server: () => PostgresServer;
  /** Starts it again, when it has ended. */
  restart: () => Promise<void>;
}

export function useStackWithOwnDatabase(options: Pick<StackOptions, 'workers'> = {}): OwnDatabaseStack {
  let postgres: PostgresServer | undefined;
  const server = (): PostgresServer => {
    if (postgres === undefined) throw new Error('no database runs');
    return postgres;
  };
  const start = async (directory: string): Promise<void> => {
    const logPath = join(directory, 'postgres.log');
    postgres = await startPostgres({ directory: join(directory, 'postgres'), logPath, durable: false });
  };
  const flow = useStack(async ({ directory, after }) => {
    // As root the database runs as another user, who must be able to pass through.
    await chmod(directory, 0o711);
    await start(directory);
    after(() => server().stop());
    return { ...options, databaseUrl: server().url };
  });
  return { flow, server, restart: () => start(flow.directory) };
}
