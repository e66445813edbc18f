import { sql } from 'drizzle-orm';
import {
  forgetScratch,
  listScratch,
  measureScratch,
  removeScratchUser,
  reserveScratch,
} from '../../../db/scratch-files';
import type { HostId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import { holding, untilBlocked } from './locks';

const { database, url } = useInventory();

const hostId = 'host-1' as HostId;
const file = { hostId, contentHash: 'sha512:aa' };
const other = { hostId, contentHash: 'sha512:bb' };

test('users share one reservation; the last one leaves, however often it says so', async () => {
  const request = { ...file, bytes: 60, maxBytes: 100 };
  for (const user of ['flight a', 'flight b', 'flight b'])
    expect(await reserveScratch(database, { ...request, user })).toEqual({ kind: 'reserved' });
  expect(await listScratch(database, { hostId })).toMatchObject([
    { bytesReserved: 60, users: ['flight a', 'flight b'] },
  ]);
  expect(await removeScratchUser(database, { ...file, user: 'flight a' })).toEqual({ lastUser: false });
  expect(await forgetScratch(database, file)).toBe(false);
  for (let time = 0; time < 2; time += 1)
    expect(await removeScratchUser(database, { ...file, user: 'flight b' })).toEqual({ lastUser: true });
  for (let time = 0; time < 2; time += 1) expect(await forgetScratch(database, file)).toBe(true);
  expect(await listScratch(database, { hostId })).toEqual([]);
  expect(await removeScratchUser(database, { ...file, user: 'flight b' })).toEqual({ lastUser: false });
});

test('the budget of a host is full with what is reserved, and freer once less was measured', async () => {
  await reserveScratch(database, { ...file, user: 'a', bytes: 60, maxBytes: 100 });
  const second = { ...other, user: 'b', bytes: 50, maxBytes: 100 };
  expect(await reserveScratch(database, second)).toEqual({ kind: 'full', freeBytes: 40 });
  expect(await reserveScratch(database, { ...second, hostId: 'host-2' as HostId })).toEqual({ kind: 'reserved' });
  await measureScratch(database, { ...file, bytesReal: 50 });
  expect(await reserveScratch(database, second)).toEqual({ kind: 'reserved' });
});

test('of reservations at once only what fits is made', async () => {
  const lock = await holding(url, sql`select pg_advisory_xact_lock(hashtextextended(${`scratch/${hostId}`}, 0))`);
  const both = Promise.all(
    [file, other].map((each) => reserveScratch(database, { ...each, user: 'a', bytes: 60, maxBytes: 100 })),
  );
  await untilBlocked(database, { count: 2 });
  await lock.commit();
  expect((await both).map(({ kind }) => kind).sort()).toEqual(['full', 'reserved']);
});
