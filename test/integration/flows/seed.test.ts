import { randomUUID } from 'node:crypto';
import { uploadSnapshotId } from '../../../activities/kit/uploaded-image';
import { cacheKeyOf } from '../../../activities/kit/cache-key';
import { seedCache, uploadVolume, type UploadRequest } from '../../../client/uploads';
import { deleteVolume } from '../../../client/volumes';
import { openFlight } from '../../../db/join-flight';
import { MiB } from '../../../workflows/contract/bytes';
import type { Image } from '../../../workflows/contract/image';
import { workflowTypes } from '../../../workflows/contract/names';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { isSameGuest, readGuest, writeAsGuest, type QemuDisk } from '../../support/images/qemu';
import { expectCleanSlate, until, useStack } from '../../support/stack/flows';

const flow = useStack({ config: { createSafetyInterval: '3s' } });
const small = useStack({ cache: { maxBytes: '8MiB' } });

const diskOf = ({ connection }: Pick<CreateVolumeResult, 'connection'>): QemuDisk => {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return { filename: connection.path, format: connection.format };
};
const upload = async (of = flow, request: UploadRequest) => await uploadVolume(of.stack.cache, request, { wait: true });
const seed = async (imageId: string, volumeId: string) =>
  (await seedCache(flow.stack.cache, { imageId, volumeId }, { wait: true })).result;
const downloadsOf = async ({ id }: Image): Promise<number> => (await flow.stack.imageService.counters(id)).downloads;

describe('an upload that is cached', () => {
  it.each(['raw', 'qcow2'] as const)(
    'of %s is a hit for the next create, without a download, when the volume is gone',
    async (diskFormat) => {
      const { image } = await flow.upload(`seed-${diskFormat}`, { virtualBytes: 24 * MiB });
      const volume = await flow.create(image);
      await writeAsGuest(diskOf(volume), { offset: 5 * MiB, bytes: MiB, pattern: 0x77 });
      const before = await readGuest(diskOf(volume));
      const { imageId, result } = await upload(flow, { volumeId: volume.volumeId, diskFormat, seedCache: true });
      expect(result.seeded).toMatchObject({ outcome: 'populated', bytesDownloaded: 0 });
      const made = await flow.stack.images.getImage(imageId);
      expect(await flow.entriesOf(made)).toMatchObject([
        { state: 'ready', generation: 1, clones: 0, virtualBytes: before.sizeBytes },
      ]);
      await deleteVolume(flow.stack.cache, volume.volumeId);
      const hit = await flow.create(made, { sizeBytes: 1024 * MiB });
      expect(hit).toMatchObject({ outcome: 'hit', bytesDownloaded: 0 });
      expect(await downloadsOf(made)).toBe(0);
      const fromScratch = await flow.create(made, { bypassCache: true });
      expect(await isSameGuest(diskOf(hit), diskOf(fromScratch))).toBe(true);
      await expectCleanSlate(flow.stack);
    },
  );

  it('is uploaded all the same where the cache has no room for it', async () => {
    const { image } = await small.upload('large', { virtualBytes: 24 * MiB });
    const { volumeId } = await small.create(image);
    const { imageId, result } = await upload(small, { volumeId, seedCache: true });
    expect(result.seeded).toMatchObject({ outcome: 'not-cached', entryId: null });
    expect(await small.stack.images.getImage(imageId)).toMatchObject({ status: 'active' });
    expect(await small.entriesOf(await small.stack.images.getImage(imageId))).toEqual([]);
    await expectCleanSlate(small.stack);
  });
});

describe('a seeding', () => {
  it('makes a volume with an image’s bytes the parent, which needs that volume no more', async () => {
    const { sample, image } = await flow.upload('exact', { diskFormat: 'raw', virtualBytes: 16 * MiB + 512 });
    const volume = await flow.create(image, { bypassCache: true, sizeBytes: 32 * MiB });
    const downloads = await downloadsOf(image);
    expect(await seed(image.id, volume.volumeId)).toMatchObject({ outcome: 'populated', bytesDownloaded: 0 });
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', clones: 0, virtualBytes: 16 * MiB + 512 }]);
    await deleteVolume(flow.stack.cache, volume.volumeId);
    const hit = await flow.create(image);
    expect(hit).toMatchObject({ outcome: 'hit' });
    await flow.expectGuestBytes(sample, hit);
    expect(await downloadsOf(image)).toBe(downloads);
    await expectCleanSlate(flow.stack);
  });

  it('refuses a volume that was written, with what it is and what it should be', async () => {
    const { image } = await flow.upload('written', { diskFormat: 'raw', virtualBytes: 8 * MiB });
    const [changed, behind] = [
      await flow.create(image, { bypassCache: true }),
      await flow.create(image, { bypassCache: true, sizeBytes: 16 * MiB }),
    ];
    await writeAsGuest(diskOf(changed), { offset: MiB, bytes: 512 });
    await writeAsGuest(diskOf(behind), { offset: 12 * MiB, bytes: 512 });
    for (const { volumeId } of [changed, behind])
      await expect(seed(image.id, volumeId)).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { field: 'volumeId' },
      });
    expect(await flow.entriesOf(image)).toEqual([]);
    await expectCleanSlate(flow.stack);
  });

  it('refuses an image of a format whose hash no volume has, and what is not there', async () => {
    const { image } = await flow.upload('packed', { diskFormat: 'qcow2' });
    const { volumeId } = await flow.create(image, { bypassCache: true });
    await expect(seed(image.id, volumeId)).rejects.toMatchObject({ type: 'ImageUnsupported' });
    await expect(seed(image.id, randomUUID())).rejects.toMatchObject({ type: 'VolumeNotFound' });
    await expect(seed(randomUUID(), volumeId)).rejects.toMatchObject({ type: 'ImageNotFound' });
    await expectCleanSlate(flow.stack);
  });

  it('joins the population that a create has opened', async () => {
    const { sample, image } = await flow.upload('joined', { diskFormat: 'raw', virtualBytes: 8 * MiB });
    const volume = await flow.create(image, { bypassCache: true });
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const waiting = await flow.start(image);
    await flow.untilWaiting(waiting.volumeId);
    const seeding = seed(image.id, volume.volumeId);
    await until(
      'the seeding to wait',
      async () => (await flow.stack.database.sql`select 1 from flight_waiters`).length > 0,
    );
    await flow.stack.imageService.clearFaults();
    expect(await seeding).toMatchObject({ outcome: 'populated' });
    expect(await waiting.result()).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, await waiting.result());
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', generation: 1 }]);
    await expectCleanSlate(flow.stack);
  });

  it('never makes other bytes an image’s parent, whatever a population is told', async () => {
    const { sample, image } = await flow.upload('poisoned', { diskFormat: 'raw', virtualBytes: 8 * MiB });
    const { image: other } = await flow.upload('others', { diskFormat: 'raw', virtualBytes: 8 * MiB });
    const { volumeId, projectId } = await flow.create(other);
    const { stack } = flow;
    const slow = randomUUID();
    await stack.imageService.inject({ kind: 'slow', imageId: slow, on: 'upload', bytesPerSecond: MiB });
    const uploading = uploadVolume(stack.cache, { volumeId, imageId: slow }, { wait: true });
    const isSaving = async () => (await stack.images.getImage(slow).catch(() => undefined))?.status === 'saving';
    await until('its snapshot', isSaving);
    const { backend } = stack;
    const cacheKey = cacheKeyOf(image);
    await openFlight(stack.database, { backend, key: cacheKey, imageId: image.id, policyVersion: 'any' });
    const run = stack.client.workflow.execute(workflowTypes.populateImageCache, {
      workflowId: stack.cache.queues.ids.populate(backend, cacheKey.short),
      taskQueue: stack.cache.queues.control,
      args: [
        {
          backend,
          cacheKey,
          imageId: image.id,
          projectId,
          seed: { volumeId, snapshotId: uploadSnapshotId(slow as Image['id']) },
        },
      ],
    });
    expect(await run).toMatchObject({ verdict: 'ready', bytesDownloaded: image.sizeBytes });
    const hit = await flow.create(image);
    expect(hit).toMatchObject({ outcome: 'hit' });
    await flow.expectGuestBytes(sample, hit);
    await uploading;
    await expectCleanSlate(stack);
  });
});
