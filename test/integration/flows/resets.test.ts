import { randomUUID } from 'node:crypto';
import { temporal } from '@temporalio/proto';
import { CancelledFailure } from '@temporalio/common';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { expectCleanSlate, useStack, type RunningCreate } from '../../support/stack/flows';

type Run = Pick<RunningCreate, 'workflowId' | 'runId' | 'handle'>;
/** The id of an event that the server can go back to. */
type Point = NonNullable<temporal.api.history.v1.IHistoryEvent['eventId']>;

const COMPLETED = temporal.api.enums.v1.EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED;

describe('a reset of a create', () => {
  const flow = useStack();
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  /** As the Temporal UI does it: the run ends, and another begins after the events before this one. */
  const reset = async <Result = CreateVolumeResult>({ workflowId, runId }: Run, point: Point): Promise<Result> => {
    const { client } = flow.stack;
    const { runId: nextRunId } = await client.workflowService.resetWorkflowExecution({
      namespace: client.options.namespace,
      workflowExecution: { workflowId, runId },
      workflowTaskFinishEventId: point,
      requestId: randomUUID(),
      reason: 'a test',
    });
    return (await client.workflow.getHandle(workflowId, nextRunId).result()) as Result;
  };

  /** @returns the ids of the events that the UI offers. */
  const pointsOf = async ({ handle }: Run): Promise<Point[]> => {
    const { events } = await handle.fetchHistory();
    return (events ?? []).flatMap(({ eventType, eventId }) => (eventType === COMPLETED && eventId ? [eventId] : []));
  };

  const lastPointOf = async (create: Run): Promise<Point> => {
    const last = (await pointsOf(create)).at(-1);
    if (last === undefined) throw new Error(`${create.workflowId} has no point to go back to`);
    return last;
  };

  const expectResets = async (create: RunningCreate, outcome: string, leastPoints: number): Promise<void> => {
    const volume = await create.result();
    expect(volume).toMatchObject({ outcome });
    const points = await pointsOf(create);
    expect(points.length).toBeGreaterThanOrEqual(leastPoints);
    const { volumeId, connection } = volume;
    for (const point of points) expect(await reset(create, point)).toMatchObject({ volumeId, connection });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'available', runId: create.runId });
  };

  it.each(['start', 'startAs'] as const)(
    'that has made its volume answers that volume, to whatever point it goes: miss, joined, hit and bypass (%s)',
    async (start) => {
      const { image } = await flow.upload(`done-${start}`);
      await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
      const miss = await flow[start](image);
      await flow.untilWaiting(miss.volumeId);
      const joined = await flow[start](image);
      await flow.untilWaiting(joined.volumeId);
      await flow.stack.imageService.clearFaults();
      await expectResets(miss, 'miss', 2);
      await expectResets(joined, 'joined', 2);
      await expectResets(await flow[start](image), 'hit', 1);
      await expectResets(await flow[start](image, { bypassCache: true }), 'bypassed', 4);
      expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', clones: 3 }]);
    },
  );

  it('whose image-volume was retired meanwhile answers the volume too', async () => {
    const { image } = await flow.upload('evicted');
    const miss = await flow.start(image);
    const { volumeId } = await miss.result();
    const [entry] = await flow.entriesOf(image);
    if (entry === undefined) throw new Error('nothing was cached');
    const { sql } = flow.stack.database;
    await sql`update cache_entries set state = 'retired', reason = 'requested' where id = ${entry.id}`;
    for (const point of await pointsOf(miss)) expect(await reset(miss, point)).toMatchObject({ volumeId });
    expect(await flow.entriesOf(image)).toMatchObject([{ id: entry.id, state: 'retired', clones: 1 }]);
  });

  it('that still runs goes on with its volume: waiting for its flight, and on each step of a bypass', async () => {
    const { sample, image } = await flow.upload('running');
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const miss = await flow.start(image);
    await flow.untilWaiting(miss.volumeId);
    const bypassing = await flow.startAs(image, { bypassCache: true });
    await flow.until('the bypass to download', async () => {
      const { raw } = await bypassing.handle.describe();
      return raw.pendingActivities?.[0]?.activityType?.name === 'downloadToScratch';
    });
    const running = [reset(miss, await lastPointOf(miss))];
    expect((await pointsOf(bypassing)).length).toBeGreaterThanOrEqual(2);
    running.push(reset(bypassing, await lastPointOf(bypassing)));
    await flow.until('both to have another run', async () => {
      const runs = await Promise.all(
        [miss, bypassing].map(async ({ workflowId, runId }) => {
          const latest = await flow.stack.client.workflow.getHandle(workflowId).describe();
          return latest.runId !== runId;
        }),
      );
      return runs.every(Boolean);
    });
    await flow.stack.imageService.clearFaults();
    for (const [index, volume] of (await Promise.all(running)).entries()) {
      expect(volume.volumeId).toBe([miss, bypassing][index]?.volumeId);
      await flow.expectGuestBytes(sample, volume);
    }
  });

  it('of its population, running or done, answers those who wait and makes nothing twice', async () => {
    const { sample, image } = await flow.upload('population');
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const miss = await flow.start(image);
    await flow.untilWaiting(miss.volumeId);
    const flight = await flow.until('the flight to download', async () => {
      const { workflowId, runId, raw } = await flow.flightHandle(image).describe();
      const handle = flow.stack.client.workflow.getHandle(workflowId, runId);
      return raw.pendingActivities?.[0]?.activityType?.name === 'downloadToScratch' && { workflowId, runId, handle };
    });
    const running = reset(flight, await lastPointOf(flight));
    await flow.until(
      'the flight to have another run',
      async () => (await flow.flightHandle(image).describe()).runId !== flight.runId,
    );
    await flow.stack.imageService.clearFaults();
    expect(await running).toMatchObject({ verdict: 'ready', waitersAnswered: 1 });
    await flow.expectGuestBytes(sample, await miss.result());

    const { workflowId, runId } = await flow.flightHandle(image).describe();
    const done = { workflowId, runId, handle: flow.stack.client.workflow.getHandle(workflowId, runId) };
    for (const point of await pointsOf(done)) expect(await reset(done, point)).toMatchObject({ verdict: 'ready' });
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', generation: 1, clones: 1 }]);
  });

  it('that is cancelled leaves nothing', async () => {
    const { image } = await flow.upload('cancelled');
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const bypassing = await flow.start(image, { bypassCache: true });
    await flow.until('the bypass to download', async () => {
      const { raw } = await bypassing.handle.describe();
      return raw.pendingActivities?.[0]?.activityType?.name === 'downloadToScratch';
    });
    const failure = reset(bypassing, await lastPointOf(bypassing)).then(
      () => undefined,
      (error: unknown) => error,
    );
    await flow.until('the next run to download', async () => {
      const { runId, raw } = await flow.stack.client.workflow.getHandle(bypassing.workflowId).describe();
      return runId !== bypassing.runId && raw.pendingActivities?.[0]?.activityType?.name === 'downloadToScratch';
    });
    await flow.stack.client.workflow.getHandle(bypassing.workflowId).cancel();
    expect(await failure).toMatchObject({ cause: expect.any(CancelledFailure) });
    expect(await flow.volume(bypassing.volumeId)).toMatchObject({ state: 'deleted' });
  });
});
