import { growPromised, promiseExtension, revertExtension, type ExtensionOutcome } from '../../../db/extensions';
import { listEvents } from '../../../db/events';
import { writeQuotas } from '../../../db/quotas';
import { findVolume, markDeleting } from '../../../db/volumes';
import { GiB } from '../../../workflows/contract/bytes';
import type { ProjectId, VolumeId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import {
  admitted,
  available,
  BACKEND,
  cacheKey,
  newVolumeId,
  PROJECT,
  readyEntry,
  registerLocal,
  SOURCE,
} from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const scope = { projectId: PROJECT };
const key = cacheKey('debian 12');
const source = { by: 'alice', ...SOURCE };
let volumeId: VolumeId;
let former: number;

beforeEach(async () => {
  await readyEntry(database, key);
  const { volume } = await available(database, key);
  volumeId = volume.id;
  former = volume.sizeBytes ?? 0;
});

function extend(sizeBytes: number, more: { of?: VolumeId; projectId?: ProjectId; mostBytes?: number } = {}) {
  const { of = volumeId, projectId = PROJECT, mostBytes = 100 * GiB } = more;
  const limitOf = async () => await Promise.resolve({ overSubscription: 1, totalBytes: mostBytes });
  return promiseExtension(database, { volumeId: of, scope: { projectId }, sizeBytes, limitOf });
}

const sizeOf = async () => (await findVolume(database, { volumeId, scope }))?.sizeBytes;
const promised = async () => {
  const [row] = await database.sql<{ bytes: number }[]>`select sum(bytes)::float8 as bytes from backend_promises`;
  return row?.bytes;
};
const eventsOf = async () => await listEvents(database, { scope, volumeId, kind: 'volume', limit: 10 });

test('a larger size is promised, again by a second call, and a smaller one refused', async () => {
  for (const formerSizeBytes of [former, 8 * GiB])
    expect(await extend(8 * GiB)).toEqual({ kind: 'promised', backend: BACKEND, formerSizeBytes });
  expect(await extend(GiB)).toEqual({ kind: 'smaller', formerSizeBytes: 8 * GiB });
  expect(await sizeOf()).toBe(8 * GiB);
  expect(await promised()).toBe(8 * GiB);
});

test('no more is promised than the backend may promise, however many grow at once', async () => {
  expect(await extend(11 * GiB, { mostBytes: 10 * GiB })).toEqual({
    kind: 'no-room',
    backend: BACKEND,
    neededBytes: 11 * GiB - former,
    promisedBytes: 0,
    mostBytes: 10 * GiB,
  });
  expect(await sizeOf()).toBe(former);
  const ids: VolumeId[] = [];
  for (let n = 0; n < 4; n += 1) ids.push((await available(database, key)).volume.id);
  const room = 4 * former + 2 * 3 * GiB;
  const kinds = (await Promise.all(ids.map((of) => extend(former + 3 * GiB, { of, mostBytes: former + room })))).map(
    ({ kind }: ExtensionOutcome) => kind,
  );
  expect(kinds.sort()).toEqual(['no-room', 'no-room', 'promised', 'promised']);
  expect(await promised()).toBe(former + room);
});

test.each(['bytes', 'volumeBytes'] as const)('a quota of %s is not overstepped', async (quota) => {
  await writeQuotas(database, { projectId: PROJECT, quotas: { [quota]: 2 * GiB }, by: 'root', source: SOURCE });
  expect(await extend(2 * GiB)).toMatchObject({ kind: 'promised' });
  expect(await extend(2 * GiB + 512)).toMatchObject({ kind: 'over-quota', projectId: PROJECT, quota, limit: 2 * GiB });
  expect(await sizeOf()).toBe(2 * GiB);
});

test('only a volume of the project that is available grows', async () => {
  expect(await extend(8 * GiB, { projectId: 'other' as ProjectId })).toEqual({ kind: 'absent' });
  expect(await extend(8 * GiB, { of: newVolumeId() })).toEqual({ kind: 'absent' });
  const creating = await admitted(database, key);
  expect(await extend(8 * GiB, { of: creating.id })).toEqual({ kind: 'not-available', state: 'creating' });
});

test('it grows with an event of its former size, and not once the promise is given back', async () => {
  await extend(8 * GiB);
  const grow = async () => await Promise.resolve({ formerSizeBytes: former });
  const step = { volumeId, sizeBytes: 8 * GiB, source };
  expect(await growPromised(database, { ...step, grow })).toEqual({ formerSizeBytes: former });
  // An answer that was lost: the backend has grown it before.
  await growPromised(database, { ...step, grow: async () => await Promise.resolve({ formerSizeBytes: 8 * GiB }) });
  const events = (await eventsOf()).filter(({ kind }) => kind === 'volume.extended');
  expect(events).toMatchObject([{ requestedBy: 'alice', detail: { from: former, to: 8 * GiB } }]);

  await extend(9 * GiB);
  for (let time = 0; time < 2; time += 1)
    await revertExtension(database, { volumeId, sizeBytes: 9 * GiB, actualBytes: 8 * GiB, source });
  const late = jest.fn(grow);
  expect(await growPromised(database, { ...step, sizeBytes: 9 * GiB, grow: late })).toBeUndefined();
  expect(late).not.toHaveBeenCalled();
  expect(await sizeOf()).toBe(8 * GiB);
  expect(await promised()).toBe(8 * GiB);
  expect((await eventsOf()).map(({ kind }) => kind)).toContain('volume.extend-failed');
});

test('a promise stays where the volume has grown, or has been promised more meanwhile', async () => {
  await extend(8 * GiB);
  await revertExtension(database, { volumeId, sizeBytes: 8 * GiB, actualBytes: 8 * GiB, source });
  expect(await sizeOf()).toBe(8 * GiB);
  await extend(9 * GiB);
  await revertExtension(database, { volumeId, sizeBytes: 8 * GiB, actualBytes: former, source });
  expect(await sizeOf()).toBe(9 * GiB);
});

test('one that is being deleted does not grow', async () => {
  await extend(8 * GiB);
  await markDeleting(database, { volumeId, scope, forced: true });
  const grow = async () => await Promise.resolve({ formerSizeBytes: former });
  expect(await growPromised(database, { volumeId, sizeBytes: 8 * GiB, source, grow })).toBeUndefined();
});
