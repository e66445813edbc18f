import { randomUUID } from 'node:crypto';
import { MiB } from '../../../workflows/contract/bytes';
import { workflowTypes } from '../../../workflows/contract/names';
import type { FollowOutcome, WarmResult } from '../../../workflows/contract/refresh';
import { assertCleanSlate } from '../../support/every-step/slate';
import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, newVolumeId, resultOf, type ImageKind, type World } from '../../support/every-step/world';
import { until } from '../../support/stack/flows';

/** More of each kind wait than there are slots for all of them. */
const SLOTS = { control: 2, backend: 2, host: 2 };
const WAITERS = 6;

let stack: EveryStepStack;
beforeAll(async () => {
  // One image of the sample's size fits, two do not.
  stack = await startEveryStepStack({ fullTimeouts: true, slots: SLOTS, scratch: { maxBytes: 2 * MiB } });
});
afterAll(() => stack.stop());

const worlds = async (count: number, kind?: ImageKind) =>
  await Promise.all(Array.from({ length: count }, () => createWorld(stack, kind)));

async function run<Result>(world: World, type: string, [workflowId, input]: [string, object]): Promise<Result> {
  const { client, taskQueue } = stack;
  world.workflowIds.add(workflowId);
  return (await client.workflow.execute(type, { workflowId, taskQueue, args: [input] })) as Result;
}

const warm = (world: World): Promise<WarmResult> =>
  run(world, workflowTypes.warmImageCache, [
    stack.ids.warm(randomUUID()),
    { imageIds: [world.image.id], backends: [stack.backend] },
  ]);

async function follow(world: World): Promise<FollowOutcome> {
  const name = `follow-${randomUUID().slice(0, 8)}`;
  const answer = await fetch(`${stack.images.endpoint}/v2/images/${world.image.id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
    body: JSON.stringify([{ op: 'replace', path: '/name', value: name }]),
  });
  expect(answer.status).toBe(200);
  const input = { imageName: name, backend: stack.backend };
  return await run(world, workflowTypes.followImage, [stack.ids.follow(stack.backend, name), input]);
}

async function untilAllWait(cold: World[], count: number): Promise<void> {
  const shortKeys = cold.map(({ cacheKey }) => cacheKey.short);
  const { sql } = stack.database;
  await until(`${count} to wait for a flight`, async () => {
    const [row] = await sql<{ waiting: number }[]>`select (
        (select count(*) from volumes where short_key in ${sql(shortKeys)} and activity_id is not null)
        + (select count(*) from flight_waiters where short_key in ${sql(shortKeys)}))::int as waiting`;
    return row?.waiting === count;
  });
}

async function untilPending(workflowId: string, activity: string): Promise<void> {
  await until(`${activity} of ${workflowId} to be pending`, async () => {
    const { raw } = await stack.client.workflow.getHandle(workflowId).describe();
    return raw.pendingActivities?.some(({ activityType }) => activityType?.name === activity);
  });
}

describe('a worker with fewer slots than there are who wait', () => {
  it('answers warmings, follows and creates that all wait for their flights at once', async () => {
    const cold = await worlds(WAITERS);
    const releases = cold.map(({ flightId }) => stack.faults.hold(flightId, 'streamImageVolume'));
    const warmings = Promise.all([...cold, ...cold].map(warm));
    const follows = Promise.all(cold.map(follow));
    const creates = Promise.all(cold.map(async (world) => await world.create()));
    await untilAllWait(cold, 4 * WAITERS);
    for (const release of releases) release();

    const outcomes = (await warmings).flatMap(({ warmed }) => warmed.map(({ outcome }) => outcome));
    expect(outcomes).toEqual(Array(2 * WAITERS).fill('populated'));
    expect((await follows).map(({ outcome }) => outcome)).toEqual(Array(WAITERS).fill('flipped'));
    expect((await creates).map(({ kind }) => kind)).toEqual(Array(WAITERS).fill('done'));
    for (const world of cold) await assertCleanSlate(world);
    expect([...(await stack.database.sql`select * from flight_waiters`)]).toEqual([]);
  });

  it('deletes volumes whose creates need a slot to undo what they made', async () => {
    const world = await createWorld(stack);
    const release = stack.faults.hold(world.flightId, 'streamImageVolume');
    const volumeIds = Array.from({ length: WAITERS }, () => newVolumeId());
    const createIds = volumeIds.map((volumeId) => stack.ids.createVolume(volumeId));
    // Where the database does not answer a local activity, the create goes on by a normal one.
    const releaseUndos = createIds.map((createId) => stack.faults.hold(createId, 'failVolume'));
    const creates = Promise.all(volumeIds.map(async (volumeId) => await world.create(volumeId)));
    await untilAllWait([world], WAITERS);
    const deletes = Promise.all(volumeIds.map(async (volumeId) => await world.remove(volumeId)));
    for (const createId of createIds) await untilPending(createId, 'failVolume');
    for (const volumeId of volumeIds) await untilPending(stack.ids.deleteVolume(volumeId), 'cancelCreate');
    for (const releaseUndo of releaseUndos) releaseUndo();

    for (const deleted of await deletes) expect(resultOf(deleted)).toMatchObject({ outcome: 'deleted' });
    expect((await creates).map(({ kind }) => kind)).toEqual(Array(WAITERS).fill('cancelled'));
    release();
    await assertCleanSlate(world);
  });

  it('writes the volumes of more images than its scratch has room for', async () => {
    const full = await worlds(WAITERS, 'qcow2');
    await Promise.all(
      full.map(async (world) => {
        const volume = resultOf(await world.create(undefined, { bypassCache: true }));
        expect(await world.hasGuestBytes(volume)).toBe(true);
      }),
    );
    for (const world of full) await assertCleanSlate(world);
  });
});
