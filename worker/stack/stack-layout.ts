import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chooseDatabaseUser } from './database-user';

/** Where the parts of a stack keep what is theirs, below its data directory. */
export interface StackLayout {
  data: string;
  /** `<part>.pid` of each running part. */
  run: string;
  lock: string;
  postgres: string;
  temporalFile: string;
  images: string;
  logPath: (part: string) => string;
  pidPath: (part: string) => string;
}

/** The order in which parts stop: a part that uses another goes before it. */
export const stopOrder: readonly string[] = ['api', 'worker', 'images', 'postgres', 'temporal'];

/** Makes the directories of a stack. Idempotent. */
export function ensureLayout(data: string): StackLayout {
  const run = join(data, 'run');
  const logs = join(data, 'logs');
  const [images, temporal] = [join(data, 'images'), join(data, 'temporal')];
  for (const directory of [data, run, logs, images, temporal]) mkdirSync(directory, { recursive: true, mode: 0o700 });
  // As root the database runs as nobody, who must pass through, and can see nothing, on the way to its own directory.
  if (chooseDatabaseUser()) chmodSync(data, 0o711);
  return {
    data,
    run,
    lock: join(run, 'supervisor.lock'),
    postgres: join(data, 'postgres'),
    temporalFile: join(temporal, 'temporal.db'),
    images,
    logPath: (part) => join(logs, `${part}.log`),
    pidPath: (part) => join(run, `${part}.pid`),
  };
}
