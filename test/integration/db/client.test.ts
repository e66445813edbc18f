import { sql } from 'drizzle-orm';
import { connectDatabase } from '../../../db/client';
import { withDatabaseErrors } from '../../../db/errors';
import { findBackend, observeSpace } from '../../../db/backends';
import { findVolume } from '../../../db/volumes';
import { cast, inTransaction, json, readRows, runStatement } from '../../../db/statement';
import { Failure } from '../../../workflows/contract/failures';
import { useInventory } from '../../support/database/database';
import { admitted, BACKEND, cacheKey, newVolumeId, registerLocal } from '../../support/database/rows';

const { database, url } = useInventory(registerLocal);

test('statements are counted and shown, begin and commit included', async () => {
  const seen: string[] = [];
  const pool = connectDatabase(url, { maxConnections: 1, onStatement: (text) => seen.push(text) });
  await pool.ping();
  await inTransaction(pool, (transaction) => runStatement(transaction, sql`select 2`));
  expect(seen).toEqual(['select 1', expect.stringMatching(/^begin/i), 'select 2', 'commit']);
  expect(pool.statements()).toBe(4);
  await pool.close();
});

test('a session that the server ends is DatabaseUnavailable, and a retry has a new one', async () => {
  const victim = connectDatabase(url, { maxConnections: 1, applicationName: 'victim' });
  await victim.ping();
  const killed = failureOf(runStatement(victim, sql`select pg_sleep(60)`));
  let ended = 0;
  while (ended === 0) {
    const rows = await database.orm.execute(
      sql`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'victim' and query like '%pg_sleep%' and state = 'active'`,
    );
    ended = rows.length;
  }
  expect(await killed).toBe('DatabaseUnavailable');
  // A statement that is sent before the driver has seen its socket close fails as well.
  let retried: string | undefined = 'DatabaseUnavailable';
  for (let tries = 1; tries <= 10 && retried === 'DatabaseUnavailable'; tries += 1)
    retried = await failureOf(victim.ping());
  expect(retried).toBeUndefined();
  await victim.close();
});

test('a deadlock is DatabaseUnavailable for one of the two', async () => {
  const [one, two] = [await admitted(database, cacheKey('1')), await admitted(database, cacheKey('2'))];
  let locked = 0;
  let bothLocked: () => void = () => {};
  const meeting = new Promise<void>((resolve) => {
    bothLocked = resolve;
  });
  const lockInOrder = (first: string, second: string) =>
    inTransaction(database, async (transaction) => {
      await runStatement(transaction, sql`select 1 from volumes where id = ${first} for update`);
      locked += 1;
      if (locked === 2) bothLocked();
      await meeting;
      await runStatement(transaction, sql`select 1 from volumes where id = ${second} for update`);
    });
  const outcomes = await Promise.allSettled([lockInOrder(one.id, two.id), lockInOrder(two.id, one.id)]);
  const rejected = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(rejected).toMatchObject([{ reason: { type: 'DatabaseUnavailable' } }]);
});

test('a broken rule of a row is final, and without the parameters of the statement', async () => {
  const broken = runStatement(database, sql`update backends set policy = ${'secret-value'} where name = ${BACKEND}`);
  const error: unknown = await broken.catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    type: 'DatabaseRefused',
    details: { sqlState: '23514', cause: expect.stringMatching(/backends_policy.*23514/) },
  });
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('secret-value');
});

test('what PostgreSQL keeps in no text is replaced, in texts and in jsonb', async () => {
  const given = { ['k\0']: ['nul \0', 'half \ud83d', 'whole \u{1f600}'] };
  const fields = { text: cast.text(sql`${'nul \0, half \udc00'}`), json: cast.json(json(given)) };
  const [row] = await readRows(database, fields, (columns) => sql`select ${columns}`);
  expect(row).toEqual({
    text: 'nul \uFFFD, half \uFFFD',
    json: { ['k\uFFFD']: ['nul \uFFFD', 'half \uFFFD', 'whole \u{1f600}'] },
  });
});

test('a number that does not fit is an error rather than another number', async () => {
  await runStatement(database, sql`update backends set total_bytes = 9007199254740993`);
  await expect(findBackend(database, { name: BACKEND })).rejects.toThrow('9007199254740993');
});

test('a closed pool refuses as unavailable', async () => {
  const pool = connectDatabase(url, { maxConnections: 1 });
  await pool.ping();
  await pool.close();
  await expect(observeSpace(pool, { name: BACKEND, totalBytes: 1, freeBytes: 1 })).rejects.toMatchObject({
    type: 'DatabaseUnavailable',
  });
});

test('a server that is not there is DatabaseUnavailable, from drizzle too', async () => {
  const pool = connectDatabase('postgres://nobody@127.0.0.1:1/nothing', { maxConnections: 1 });
  await expect(pool.ping()).rejects.toMatchObject({ type: 'DatabaseUnavailable' });
  await expect(findVolume(pool, { volumeId: newVolumeId(), scope: 'all projects' })).rejects.toMatchObject({
    type: 'DatabaseUnavailable',
  });
  await expect(withDatabaseErrors(() => pool.orm.execute(sql`select 1`))).rejects.toMatchObject({
    type: 'DatabaseUnavailable',
  });
  await pool.close();
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
