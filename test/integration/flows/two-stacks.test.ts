import { randomUUID } from 'node:crypto';
import { WorkflowNotFoundError } from '@temporalio/client';
import { evict, evictionStatus, pauseEviction } from '../../../client/eviction';
import { followImage } from '../../../client/refresh';
import { reconcile } from '../../../client/reconcile';
import { refreshCache } from '../../../client/refresh';
import { createVolume, deleteVolume } from '../../../client/volumes';
import { warmCache } from '../../../client/refresh';
import { unlessThrown } from '../../../lib/unless-thrown';
import { workflowTypes } from '../../../workflows/contract/names';
import type { BackendName } from '../../../workflows/contract/ids';
import { useStack, type FlowStack, type UploadedImage } from '../../support/stack/flows';
import { BACKEND, registerLocal } from '../../support/database/rows';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';

/** Both have a backend of this name, as two installations that share a namespace may. */
const backend = `shared-${randomUUID().slice(0, 6)}` as BackendName;
// Before the stacks stop, whose hooks come after this one.
afterAll(async () => {
  for (const { stack } of both) {
    const evictor = stack.client.workflow.getHandle(stack.cache.queues.ids.evict(backend));
    await unlessThrown(WorkflowNotFoundError, evictor.terminate('the test is over'));
  }
});
const blue = useStack({ backend });
const green = useStack({ backend });
const both = [blue, green];

/** The same bytes in both image services: one cache key. */
async function uploadToBoth(name: string): Promise<[UploadedImage, UploadedImage]> {
  const sample = await makeSampleImage({ directory: blue.directory, name });
  const upload = async ({ stack }: FlowStack) => ({
    sample,
    image: await uploadSample(stack.images, sample, { name }),
  });
  return [await upload(blue), await upload(green)];
}

const onBoth = async <T>(run: (flow: FlowStack) => Promise<T>): Promise<T[]> => await Promise.all(both.map(run));
const imageOf = ([ofBlue, ofGreen]: [UploadedImage, UploadedImage], flow: FlowStack) =>
  (flow === blue ? ofBlue : ofGreen).image;
const nameOf = (): string => `shared-${randomUUID()}`;

describe('two stacks in one namespace', () => {
  it('populate the same key on backends of the same name, each its own', async () => {
    const uploads = await uploadToBoth(nameOf());
    const volumes = await onBoth((flow) => flow.create(imageOf(uploads, flow)));
    expect(volumes.map(({ outcome }) => outcome)).toEqual(['miss', 'miss']);
    for (const [index, flow] of both.entries()) {
      expect(await flow.entriesOf(imageOf(uploads, flow))).toMatchObject([{ state: 'ready', clones: 1 }]);
      const { volumeId = '' } = volumes[index] ?? {};
      await deleteVolume(flow.stack.cache, volumeId);
      expect(await flow.volume(volumeId)).toMatchObject({ state: 'deleted' });
    }
  });

  it('pause and evict only what is their own', async () => {
    const uploads = await uploadToBoth(nameOf());
    await onBoth((flow) => warmCache(flow.stack.cache, { imageIds: [imageOf(uploads, flow).id] }, { wait: true }));
    await pauseEviction(blue.stack.cache, {}, { backend });
    const { result } = await evict(blue.stack.cache, { imageId: imageOf(uploads, blue).id }, { backend });
    expect(result).toMatchObject({ outcome: 'done', evicted: [{ class: 'requested' }] });
    expect(await evictionStatus(blue.stack.cache, { backend })).toMatchObject({ paused: true });
    await expect(evictionStatus(green.stack.cache, { backend })).rejects.toMatchObject({ type: 'WorkflowNotFound' });
    expect(await green.entriesOf(imageOf(uploads, green))).toMatchObject([{ state: 'ready' }]);
    expect(await green.create(imageOf(uploads, green))).toMatchObject({ outcome: 'hit' });
    expect(await blue.create(imageOf(uploads, blue))).toMatchObject({ outcome: 'miss' });
  });

  it('warm, follow, reconcile and refresh at the same time, and none is joined or ended by the other', async () => {
    const imageName = nameOf();
    const uploads = await uploadToBoth(imageName);
    const warmings = await onBoth((flow) =>
      warmCache(flow.stack.cache, { imageIds: [imageOf(uploads, flow).id], backends: [backend] }, { wait: true }),
    );
    expect(warmings.map(({ result }) => result.warmed[0]?.outcome)).toEqual(['populated', 'populated']);
    const follows = await onBoth((flow) => followImage(flow.stack.cache, { imageName, backend }, { wait: true }));
    expect(follows.map(({ result }) => result.imageId)).toEqual(both.map((flow) => imageOf(uploads, flow).id));
    const reconciled = await onBoth((flow) => reconcile(flow.stack.cache, { backend }, { wait: true }));
    expect(new Set(reconciled.map(({ runId }) => runId)).size).toBe(2);
    const refreshed = await onBoth((flow) => refreshCache(flow.stack.cache, {}, { wait: true }));
    expect(refreshed.map(({ result }) => result.follows.length)).toEqual([1, 1]);
    expect(refreshed.map(({ result }) => result.gone)).toEqual([0, 0]);
  });

  it('refuse a run under an id of theirs that is on a task queue of others', async () => {
    const { client, cache } = blue.stack;
    const { ids } = cache.queues;
    const taskQueue = green.stack.cache.queues.control;
    const volumeId = randomUUID();
    await registerLocal(blue.stack.database);
    const foreign = await Promise.all([
      client.workflow.start(workflowTypes.evictImageCache, {
        workflowId: ids.evict(BACKEND),
        taskQueue,
        args: [{ backend }],
      }),
      client.workflow.start(workflowTypes.createVolumeFromImage, {
        workflowId: ids.createVolume(volumeId as never),
        taskQueue: `${taskQueue}-nobody`,
        args: [{ imageId: randomUUID() }],
      }),
    ]);
    const refusal = { type: 'ForeignRun', details: { allowed: cache.queues.control } };
    await expect(pauseEviction(cache, {}, { backend: BACKEND })).rejects.toMatchObject(refusal);
    await expect(evictionStatus(cache, { backend: BACKEND })).rejects.toMatchObject(refusal);
    await expect(createVolume(cache, { imageId: randomUUID(), volumeId })).rejects.toMatchObject(refusal);
    await Promise.all(foreign.map((handle) => handle.terminate('the test is over')));
  });

  it('make a volume for any Temporal client that names it by a workflow id without a prefix', async () => {
    const uploads = await uploadToBoth(nameOf());
    const { client, cache } = blue.stack;
    const volumeId = randomUUID();
    const input = { imageId: imageOf(uploads, blue).id, backend };
    const request = { workflowId: `volume/${volumeId}`, taskQueue: cache.queues.control, args: [input] };
    expect(await client.workflow.execute(workflowTypes.createVolumeFromImage, request)).toMatchObject({ volumeId });
    expect(await blue.volume(volumeId)).toMatchObject({ state: 'available', workflowId: `volume/${volumeId}` });
  });
});
