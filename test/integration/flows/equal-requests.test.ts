import { randomUUID } from 'node:crypto';
import { deleteVolume } from '../../../client/volumes';
import type { Image } from '../../../workflows/contract/image';
import { expectCleanSlate, useStack, type RunningCreate } from '../../support/stack/flows';
import { reconcileFlows } from '../../support/stack/reconcile';

const EQUAL = 6;

describe('an equal request for one volume under another workflow id', () => {
  const flow = useStack({ config: { schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1s' } } });
  const { look } = reconcileFlows(flow);
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  const closeGate = ({ id: imageId }: Image) =>
    flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId, times: 1_000_000 });

  const untilItWaits = ({ workflowId, handle }: RunningCreate, forWorkflowId: string) =>
    flow.until(`${workflowId} to wait for ${forWorkflowId}`, async () => {
      const { raw } = await handle.describe();
      const [pending] = raw.pendingActivities ?? [];
      const { applicationFailureInfo, message } = pending?.lastFailure ?? {};
      return applicationFailureInfo?.type === 'VolumeBusy' && message?.includes(forWorkflowId);
    });

  const failureOf = ({ result }: RunningCreate) =>
    result().then(
      () => undefined,
      (error: unknown) => (error as { cause?: unknown }).cause,
    );

  it.each([false, true])(
    'waits for the run that has it, and gets the same volume (bypassCache: %s)',
    async (bypassCache) => {
      const { sample, image } = await flow.upload(`waits-${bypassCache}`);
      const input = { volumeId: randomUUID(), bypassCache };
      await closeGate(image);
      const first = await flow.startAs(image, input);
      await flow.until('the first to have its row', () => flow.volume(input.volumeId));
      const others = [
        await flow.start(image, input),
        ...(await Promise.all(Array.from({ length: EQUAL }, () => flow.startAs(image, input)))),
      ];
      for (const other of others) await untilItWaits(other, first.workflowId);
      const different = await flow.startAs(image, { ...input, name: 'another' });
      expect(await failureOf(different)).toMatchObject({ type: 'Conflict' });

      await flow.stack.imageService.clearFaults();
      const volume = await first.result();
      await flow.expectGuestBytes(sample, volume);
      for (const other of others)
        expect(await other.result()).toMatchObject({ volumeId: input.volumeId, connection: volume.connection });
      expect(await flow.volume(input.volumeId)).toMatchObject({ workflowId: first.workflowId, runId: first.runId });
    },
  );

  it.each([false, true])('takes over at once from a run that was terminated (bypassCache: %s)', async (bypassCache) => {
    const { sample, image } = await flow.upload(`terminated-${bypassCache}`);
    const input = { volumeId: randomUUID(), bypassCache };
    await closeGate(image);
    const dead = await flow.start(image, input);
    await flow.until('the first to have its row', () => flow.volume(input.volumeId));
    await dead.handle.terminate('by the operator');
    const different = await flow.startAs(image, { ...input, name: 'another' });
    expect(await failureOf(different)).toMatchObject({ type: 'Conflict' });
    const equal = await flow.startAs(image, input);
    await flow.until('the row to be of the equal request', async () => {
      const row = await flow.volume(input.volumeId);
      return row?.runId === equal.runId && row.workflowId === equal.workflowId;
    });
    await flow.stack.imageService.clearFaults();
    const volume = await equal.result();
    expect(volume).toMatchObject({ volumeId: input.volumeId });
    await flow.expectGuestBytes(sample, volume);
    // Nobody is left to give the dead run's scratch file back but the reconciler.
    expect(await look()).toMatchObject({ problems: [] });
  });

  it('that waits takes over when that run dies, and tries again when that run fails', async () => {
    const { sample, image } = await flow.upload('dies-and-fails', { diskFormat: 'raw' });
    const input = { volumeId: randomUUID() };
    await closeGate(image);
    const first = await flow.startAs(image, input);
    await flow.untilWaiting(input.volumeId);
    const second = await flow.startAs(image, input);
    await untilItWaits(second, first.workflowId);
    await first.handle.terminate('by the operator');
    await flow.until('the second to wait for the flight', async () => {
      const row = await flow.volume(input.volumeId);
      return row?.runId === second.runId && row.activityId !== null;
    });
    const third = await flow.startAs(image, input);
    await untilItWaits(third, second.workflowId);
    await flow.stack.imageService.clearFaults();
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId: image.id, afterBytes: 1000, times: 2 });
    expect(await failureOf(second)).toMatchObject({ type: 'TransferCorrupt' });
    const volume = await third.result();
    expect(volume).toMatchObject({ volumeId: input.volumeId, outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
  });

  it('ends with what a delete has made of the volume', async () => {
    const { image } = await flow.upload('deleted');
    const input = { volumeId: randomUUID() };
    await closeGate(image);
    const first = await flow.startAs(image, input);
    await flow.untilWaiting(input.volumeId);
    const second = await flow.startAs(image, input);
    await untilItWaits(second, first.workflowId);
    await deleteVolume(flow.stack.cache, input.volumeId);
    expect(await failureOf(second)).toMatchObject({ type: 'VolumeDeleted' });
    await flow.stack.imageService.clearFaults();
    await flow.flightHandle(image).result();
  });
});
