import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrateDatabase } from '../../../db/migrate';
import { connectDatabase, type Database } from '../../../db/client';
import { withDatabaseName } from '../../support/database/database-name';
import { startPostgres } from '../../../worker/stack/postgres';
import type { BackendName } from '../../../workflows/contract/ids';
import { connectExplained } from '../../support/database/explained-database';
import { fillDatabase, type Filling } from '../../support/database/fill-inventory';
import { inventoryWorks, type InventoryWork } from '../../support/database/inventory-work';
import { percentile, rounded } from '../result';

const BACKEND = 'scale' as BackendName;
const SMALL: Filling = { backend: BACKEND, entries: 100, volumes: 10_000 };
const LARGE: Filling = { backend: BACKEND, entries: 10_000, volumes: 1_000_000 };
/** How much longer anything may take with a hundred times as much. */
export const ALLOWED_RATIO = 3;
const WARM_UP = 10;
const TIMES = 200;

/** One statement, or the few of one function, at both sizes. */
export interface ScaleMeasure {
  measure: 'scale';
  name: string;
  n: number;
  smallP50Ms: number;
  largeP50Ms: number;
  ratio: number;
  withinAllowed: boolean;
  /** As the large one's were run, one after the other. */
  plans: string[];
}

/** The inventory's functions on a small and on a large database of one server, by turns, so that both see the same machine. */
export async function measureScale(): Promise<ScaleMeasure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'ivc-scale-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  try {
    const postgres = await startPostgres({
      directory: join(directory, 'postgres'),
      logPath: join(directory, 'postgres.log'),
      durable: true,
    });
    try {
      return await measureOn(postgres.url);
    } finally {
      await postgres.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measureOn(serverUrl: string): Promise<ScaleMeasure[]> {
  const small = await openFilled(serverUrl, 'scale_small', SMALL);
  const large = await openFilled(serverUrl, 'scale_large', LARGE);
  try {
    const measures: ScaleMeasure[] = [];
    const largeWorks = inventoryWorks(large.database, LARGE);
    for (const [index, work] of inventoryWorks(small.database, SMALL).entries()) {
      const other = largeWorks[index];
      if (other) measures.push(await measureBoth(work, other, large.url));
    }
    return measures;
  } finally {
    await small.database.close();
    await large.database.close();
  }
}

async function openFilled(
  serverUrl: string,
  name: string,
  filling: Filling,
): Promise<{ url: string; database: Database }> {
  const server = connectDatabase(serverUrl, { maxConnections: 1 });
  await server.sql.unsafe(`create database ${name}`);
  await server.close();
  const url = withDatabaseName(serverUrl, name);
  await migrateDatabase(url);
  await fillDatabase(url, filling);
  return { url, database: connectDatabase(url, { maxConnections: 1 }) };
}

async function measureBoth(small: InventoryWork, large: InventoryWork, largeUrl: string): Promise<ScaleMeasure> {
  const times = small.times ?? TIMES;
  const [smallMs, largeMs]: [number[], number[]] = [[], []];
  for (let n = 1; n <= WARM_UP + times; n += 1) {
    const [first, second] = [await timeOf(small, n), await timeOf(large, n)];
    if (n > WARM_UP) smallMs.push(first);
    if (n > WARM_UP) largeMs.push(second);
  }
  const [smallP50Ms, largeP50Ms] = [percentile(smallMs, 0.5), percentile(largeMs, 0.5)];
  const ratio = rounded(largeP50Ms / smallP50Ms, 2);
  return {
    measure: 'scale',
    name: small.name,
    n: times,
    smallP50Ms: rounded(smallP50Ms, 2),
    largeP50Ms: rounded(largeP50Ms, 2),
    ratio,
    withinAllowed: ratio <= ALLOWED_RATIO,
    plans: await explain(small.name, largeUrl, WARM_UP + times + 1),
  };
}

async function timeOf(work: InventoryWork, n: number): Promise<number> {
  await work.prepare?.(n);
  const startedAtMs = performance.now();
  await work.run(n);
  const ms = performance.now() - startedAtMs;
  await work.undo?.(n);
  return ms;
}

/** The plans of one more time, on a connection that tells them. */
async function explain(name: string, url: string, n: number): Promise<string[]> {
  const explained = connectExplained(url);
  const { database } = explained;
  try {
    const work = inventoryWorks(database, LARGE).find((candidate) => candidate.name === name);
    await work?.prepare?.(n);
    explained.takePlans();
    await work?.run(n);
    const plans = explained.takePlans();
    await work?.undo?.(n);
    return plans.map(({ text, plan }) => `${shorten(text)}\n${plan}`);
  } finally {
    await database.close();
  }
}

const MAX_STATEMENT_CHARACTERS = 160;

function shorten(text: string): string {
  return text.length > MAX_STATEMENT_CHARACTERS ? `${text.slice(0, MAX_STATEMENT_CHARACTERS)} …` : text;
}
