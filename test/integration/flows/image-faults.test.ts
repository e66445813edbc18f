import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { MiB } from '../../../workflows/contract/bytes';
import { startTestImageService } from '../../support/glance/image-service';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { startTcpGate, type TcpGate } from '../../support/machine/tcp-gate';

const VIRTUAL_BYTES = 32 * MiB;
/** Bytes that a broken connection may have had on its way. */
const SLACK_BYTES = 4 * MiB;
/** Behind the first bytes, which are judged while they come. */
const AMONG_DATA_BYTES = 5 * MiB;
const HERD = 4;

describe('an image service with faults', () => {
  const flow = useStack();
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('that cuts the connection twice costs the cut bytes: the download goes on where it ended', async () => {
    const { sample, image } = await flow.upload('cut', { virtualBytes: VIRTUAL_BYTES });
    await flow.stack.imageService.inject({ kind: 'cut', imageId: image.id, afterBytes: 4 * MiB, times: 2 });
    const volume = await flow.create(image);
    expect(volume).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
    const { bytesServed, rangeRequests } = await flow.stack.imageService.counters(image.id);
    expect(rangeRequests).toBeGreaterThanOrEqual(2);
    expect(bytesServed).toBeLessThanOrEqual((image.sizeBytes ?? 0) + SLACK_BYTES);
  });

  it('that asks to come later, for the record and for the bytes, is asked later', async () => {
    const { sample, image } = await flow.upload('later');
    for (const on of ['record', 'file'] as const)
      await flow.stack.imageService.inject({
        kind: 'status-503',
        on,
        imageId: image.id,
        retryAfterSeconds: 1,
        times: 2,
      });
    const volume = await flow.create(image);
    expect(volume).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
  });

  it('that sends a wrong byte once costs one clean restart', async () => {
    const { sample, image } = await flow.upload('wrong-once');
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId: image.id, afterBytes: AMONG_DATA_BYTES });
    const volume = await flow.create(image);
    await flow.expectGuestBytes(sample, volume);
    expect(volume.bytesDownloaded).toBe(2 * (image.sizeBytes ?? 0));
  });

  it('that damages first bytes so that they look like no image costs one clean restart', async () => {
    const { sample, image } = await flow.upload('damaged-once');
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId: image.id, afterBytes: 0 });
    const volume = await flow.create(image);
    expect(volume).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
  });

  it('that damages first bytes for a while refuses the creates of that time, and no later one', async () => {
    const { sample, image } = await flow.upload('damaged-for-a-while');
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId: image.id, afterBytes: 0, times: 2 });
    await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
    const volume = await flow.create(image);
    expect(volume).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
  });

  it('that sends wrong bytes again and again fails every waiter with a message for people, and leaves nothing', async () => {
    const { image } = await flow.upload('wrong');
    await flow.stack.imageService.inject({
      kind: 'wrong-bytes',
      imageId: image.id,
      afterBytes: AMONG_DATA_BYTES,
      times: 1000,
    });
    const running = await Promise.all(Array.from({ length: HERD }, () => flow.start(image)));
    for (const { volumeId, result } of running) {
      await expect(result()).rejects.toMatchObject({
        cause: { type: 'TransferCorrupt' },
      });
      expect(await flow.volume(volumeId)).toMatchObject({
        state: 'error',
        errorType: 'TransferCorrupt',
        errorMessage: expect.stringContaining(image.id),
      });
    }
    expect(await flow.entriesOf(image)).toEqual([]);
    const failedFlights = `WorkflowType = 'PopulateImageCache' AND Outcome = 'failed' AND ImageId = '${image.id}'`;
    await flow.until('the list of runs to show that the flight failed', async () => {
      return (await flow.stack.client.workflow.count(failedFlights)).count === 1;
    });
  });

  it.each([
    ['deleted', 'ImageNotFound'],
    ['deactivated', 'ImageNotActive'],
  ])('whose image is %s while it is populated fails the creates with %s', async (what, type) => {
    const { image } = await flow.upload(what);
    await flow.stack.imageService.inject({ kind: 'cut', imageId: image.id, afterBytes: 2 * MiB });
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const running = await Promise.all(Array.from({ length: HERD }, () => flow.start(image)));
    for (const { volumeId } of running) await flow.untilWaiting(volumeId);
    await flow.until(
      'the download to have begun',
      async () => (await flow.stack.imageService.counters(image.id)).bytesServed > 0,
    );
    if (what === 'deleted') await flow.stack.images.deleteImage(image.id);
    else await flow.stack.images.deactivate(image.id);
    await flow.stack.imageService.clearFaults();
    for (const { volumeId, result } of running) {
      await expect(result()).rejects.toMatchObject({ cause: { type } });
      expect(await flow.volume(volumeId)).toMatchObject({ state: 'error', errorType: type });
    }
    expect(await flow.entriesOf(image)).toEqual([]);
  });
});

describe('an image service that is down for a while', () => {
  let gate: TcpGate | undefined;
  const flow = useStack(async ({ directory, after }) => {
    const service = await startTestImageService(join(directory, 'images'));
    after(() => service.stop());
    gate = await startTcpGate(service.url);
    after(async () => await gate?.close());
    return { imagesEndpoint: gate.url };
  });

  it('fails no create that is admitted meanwhile', async () => {
    const { sample, image } = await flow.upload('down');
    await gate?.close();
    const create = await flow.start(image);
    await flow.until('the admission to be tried again', async () => {
      const { raw } = await create.handle.describe();
      return raw.pendingActivities?.some(
        ({ activityType, attempt }) => activityType?.name === 'admitVolume' && (attempt ?? 0) > 1,
      );
    });
    await gate?.open();
    const volume = await create.result();
    expect(volume).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, volume);
    await expectCleanSlate(flow.stack);
  });
});

describe('a create whose budget is spent', () => {
  const flow = useStack({ config: { createBudget: '4s', createSafetyInterval: '60s' } });
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it.each([
    ['waits for a flight', {}],
    ['bypasses the cache', { bypassCache: true }],
  ])('fails and is undone while it %s', async (_what, input) => {
    const { image } = await flow.upload(`budget-${randomUUID()}`);
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const create = await flow.start(image, input);
    await expect(create.result()).rejects.toMatchObject({
      cause: { type: 'BudgetSpent', details: [{ volumeId: create.volumeId, budgetMs: 4000 }] },
    });
    expect(await flow.volume(create.volumeId)).toMatchObject({ state: 'error', errorType: 'BudgetSpent' });
    expect(await flow.volume(create.volumeId)).toMatchObject({ holdsEntry: false, waitsForFlight: null });
  });
});
