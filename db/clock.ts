import { sql } from 'drizzle-orm/sql';
import type { Database } from './client';
import { cast, readRows, type Queryable } from './statement';

/*
 * The time that the inventory's rows are written with. A time that is compared with a row's is read here: the clock of
 * a worker or of a client may be hours off.
 */

/** @returns the database's time, as of this statement. */
export async function readDatabaseTime(on: Queryable): Promise<Date> {
  const ms = cast.float(sql`extract(epoch from clock_timestamp()) * 1000`);
  const [row] = await readRows(on, { ms }, (columns) => sql`select ${columns}`);
  if (!row) throw new Error('the database told no time');
  return new Date(row.ms);
}

/** @returns the period of so many milliseconds that ends now. */
export async function readPeriodUntilNow(on: Queryable, lengthMs: number): Promise<{ from: Date; to: Date }> {
  const to = await readDatabaseTime(on);
  return { from: new Date(to.getTime() - lengthMs), to };
}

/** @returns a clock that goes on from the database's time by this process's monotonic one. */
export async function openDatabaseClock(database: Database): Promise<() => Date> {
  const startedAtMs = (await readDatabaseTime(database)).getTime();
  const readAtMs = performance.now();
  return () => new Date(startedAtMs + performance.now() - readAtMs);
}
