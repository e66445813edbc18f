import { randomUUID } from 'node:crypto';
import { CancelledFailure } from '@temporalio/common';
import type { Image } from '../../../workflows/contract/image';
import { ActivityNotFoundError } from '@temporalio/client';
import { cacheKeyOf } from '../../../activities/kit/cache-key';
import { answerFlight } from '../../../db/flights';
import { workflowTypes } from '../../../workflows/contract/names';
import { MiB } from '../../../workflows/contract/bytes';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

const HERD = 8;

const flow = useStack({ config: { createSafetyInterval: '3s' } });

/** Keeps an image's bytes back until `open`: its flight runs, and retries, for as long. */
async function closeGate(image: Image): Promise<{ open(): Promise<void> }> {
  await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
  return { open: () => flow.stack.imageService.clearFaults() };
}

function startFlight(image: Image, { workflowId, input }: { workflowId: string; input?: unknown }) {
  const { client, cache } = flow.stack;
  return client.workflow.start(workflowTypes.populateImageCache, {
    workflowId,
    taskQueue: cache.queues.control,
    workflowIdConflictPolicy: 'USE_EXISTING',
    args: [
      input ?? { backend: flow.stack.backend, cacheKey: cacheKeyOf(image), imageId: image.id, projectId: 'default' },
    ],
  });
}

function flightId(image: Image): string {
  return flow.stack.cache.queues.ids.populate(flow.stack.backend, cacheKeyOf(image).short);
}

describe('a flight', () => {
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('goes on when its leader is cancelled, and the others get their volumes', async () => {
    const { sample, image } = await flow.upload('cancelled-leader');
    const gate = await closeGate(image);
    const leader = await flow.start(image);
    await flow.untilWaiting(leader.volumeId);
    const others = await Promise.all(Array.from({ length: 3 }, () => flow.start(image)));
    for (const { volumeId } of others) await flow.untilWaiting(volumeId);
    const before = await flow.flightHandle(image).describe();

    await leader.handle.cancel();
    await expect(leader.result()).rejects.toMatchObject({ cause: expect.any(CancelledFailure) });
    expect(await flow.volume(leader.volumeId)).toMatchObject({ state: 'deleted' });
    await gate.open();
    for (const { result } of others) await flow.expectGuestBytes(sample, await result());
    expect((await flow.flightHandle(image).describe()).runId).toBe(before.runId);
    expect(await flow.flightOf(image)).toMatchObject({ flight: 1, leaderVolumeId: leader.volumeId });
  });

  it('that an operator terminates is started again by a waiter after its safety interval', async () => {
    const { sample, image } = await flow.upload('terminated');
    const gate = await closeGate(image);
    const waiting = await Promise.all(Array.from({ length: 3 }, () => flow.start(image)));
    for (const { volumeId } of waiting) await flow.untilWaiting(volumeId);
    const first = await flow.flightHandle(image).describe();
    await flow.flightHandle(image).terminate('by the operator');
    const second = await flow.until('a waiter to start the next run', async () => {
      const run = await flow.flightHandle(image).describe();
      return run.runId !== first.runId && run;
    });
    await gate.open();
    for (const { result } of waiting) await flow.expectGuestBytes(sample, await result());
    expect((await flow.flightHandle(image).describe()).runId).toBe(second.runId);
    expect(await flow.flightOf(image)).toMatchObject({ flight: 1, answeredRunId: second.runId });
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', generation: 1 }]);
  });

  it('that was answered and has not closed takes no waiter: the next create leads a run of its own', async () => {
    const { sample, image } = await flow.upload('closing');
    const gate = await closeGate(image);
    const early = await flow.start(image);
    await flow.untilWaiting(early.volumeId);
    // One that has not looked yet would read the verdict below, and fail with it.
    await flow.until('the early create to have looked for a verdict', async () => {
      const { raw } = await early.handle.describe();
      const awaiting = raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'awaitVerdict');
      return awaiting?.lastStartedTime !== undefined && awaiting.lastStartedTime !== null;
    });
    const closing = await flow.flightHandle(image).describe();
    // As its last activity leaves it between the verdict and its end.
    const failure = { type: 'ToolFailed' as const, message: 'the tool failed', details: {} };
    await flow.until(
      'the run to have claimed its flight',
      async () => (await flow.flightOf(image))?.runId === closing.runId,
    );
    const verdict = { kind: 'failed' as const, failure, imageId: image.id };
    const { short: shortKey } = cacheKeyOf(image);
    const { backend, database } = flow.stack;
    await answerFlight(database, { backend, shortKey, flight: 1, runId: closing.runId, verdict });

    const late = await flow.start(image);
    await flow.until('the late create to be sent away', async () => (await flow.flightOf(image))?.flight === 2);
    expect((await flow.flightHandle(image).describe()).runId).toBe(closing.runId);
    await flow.flightHandle(image).terminate('closed');
    const next = await flow.until(
      'the next run to claim the flight',
      async () => (await flow.flightOf(image))?.runId ?? false,
    );
    expect(next).not.toBe(closing.runId);
    await gate.open();
    const volume = await late.result();
    expect(volume).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
    await flow.expectGuestBytes(sample, await early.result());
    expect(await flow.flightOf(image)).toMatchObject({ flight: 2, answeredRunId: next });
  });

  it('answers the waiters that a killed worker has left, after its verdict was written', async () => {
    const { sample, image } = await flow.upload('killed');
    const gate = await closeGate(image);
    const waiting = await Promise.all(Array.from({ length: HERD }, () => flow.start(image)));
    for (const { volumeId } of waiting) await flow.untilWaiting(volumeId);
    // With the lock held the flight writes its verdict and cannot read who waits for it.
    const held = await flow.stack.database.sql.reserve();
    await held`begin`;
    try {
      await held`lock table volumes in access exclusive mode`;
      await gate.open();
      await flow.until('the verdict', async () => (await flow.flightOf(image))?.answered);
      await flow.stack.workers.at(-1)?.stop('SIGKILL');
    } finally {
      await held`rollback`;
      held.release();
    }
    await flow.stack.startWorker();
    const volumes = await Promise.all(waiting.map(({ result }) => result()));
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({ bytesServed: image.sizeBytes });
  });

  it('answers only the run that waits: a verdict for a dead run does not reach its successor', async () => {
    const { sample, image } = await flow.upload('successor');
    const gate = await closeGate(image);
    const volumeId = randomUUID();
    const dead = await flow.start(image, { volumeId });
    const { activityId } = await flow.untilWaiting(volumeId);
    await dead.handle.terminate('the run dies, its row stays');
    const successor = await flow.start(image, { volumeId });
    await flow.until('the successor to wait', async () => {
      const row = await flow.volume(volumeId);
      return row?.runId === successor.runId && row.activityId !== null;
    });
    const { client } = flow.stack;
    const address = { workflowId: dead.workflowId, runId: dead.runId, activityId: activityId ?? '' };
    await expect(
      client.activity.complete(address, { leader: null, verdict: { kind: 'bypass', reason: 'no-room' } }),
    ).rejects.toThrow(ActivityNotFoundError);
    expect((await successor.handle.describe()).status.name).toBe('RUNNING');
    await gate.open();
    const volume = await successor.result();
    expect(volume).toMatchObject({ volumeId });
    expect(volume.outcome).not.toBe('bypassed');
    await flow.expectGuestBytes(sample, volume);
  });

  it('that failed is not remembered: the same volume id tries again and gets its volume', async () => {
    const { sample, image } = await flow.upload('again', { diskFormat: 'raw', virtualBytes: 8 * MiB });
    const volumeId = randomUUID();
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId: image.id, afterBytes: 70_000, times: 2 });
    await expect(flow.create(image, { volumeId })).rejects.toMatchObject({ type: 'TransferCorrupt' });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'error', errorType: 'TransferCorrupt' });
    const volume = await flow.create(image, { volumeId });
    expect(volume).toMatchObject({ volumeId, outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
  });
});

describe('PopulateImageCache started by hand', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('ends with a typed failure for a key that nobody has joined', async () => {
    const { image } = await flow.upload('nobody');
    const handle = await startFlight(image, { workflowId: flightId(image) });
    await expect(handle.result()).rejects.toMatchObject({
      cause: { type: 'InvalidRequest', details: [{ field: 'cacheKey' }] },
    });
  });

  it('ends with a typed failure under an id that is not its key’s', async () => {
    const { image } = await flow.upload('other-id');
    const handle = await startFlight(image, { workflowId: `populate-${randomUUID()}` });
    await expect(handle.result()).rejects.toMatchObject({
      cause: { type: 'InvalidRequest', details: [{ allowed: expect.stringContaining(flightId(image)) }] },
    });
  });

  it('populates nothing anew for a key whose flight was answered', async () => {
    const { image } = await flow.upload('answered');
    await flow.create(image);
    await expectCleanSlate(flow.stack);
    const handle = await startFlight(image, { workflowId: flightId(image) });
    expect(await handle.result()).toMatchObject({ verdict: 'ready', waitersAnswered: 0 });
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({ downloads: 1 });
    expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
  });
});
