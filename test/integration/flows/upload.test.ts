import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { reconcile } from '../../../client/reconcile';
import { deleteVolume } from '../../../client/volumes';
import { uploadVolume, type UploadRequest } from '../../../client/uploads';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import type { Image } from '../../../workflows/contract/image';
import type { UploadVolumeResult } from '../../../workflows/contract/upload';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import {
  checkImage,
  holdAsGuest,
  isSameGuest,
  readGuest,
  writeAsGuest,
  type QemuDisk,
} from '../../support/images/qemu';
import { expectCleanSlate, until, useStack } from '../../support/stack/flows';

const flow = useStack({
  config: { schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1ms' } },
});
const SLOW = 4 * MiB;

const diskOf = ({ connection }: Pick<CreateVolumeResult, 'connection'>): QemuDisk => {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return { filename: connection.path, format: connection.format };
};
const uploadOf = async (volumeId: string, input: Omit<UploadRequest, 'volumeId'> = {}) =>
  await uploadVolume(flow.stack.cache, { volumeId, ...input }, { wait: true });
const start = async (volumeId: string, input: Omit<UploadRequest, 'volumeId'> = {}) => {
  const started = await uploadVolume(flow.stack.cache, { volumeId, ...input }, { wait: false });
  return { ...started, handle: flow.stack.client.workflow.getHandle(started.workflowId, started.runId) };
};
const findImage = async (imageId: string): Promise<Image | undefined> =>
  await flow.stack.images.getImage(imageId).catch((error: unknown) => {
    expect(error).toMatchObject({ type: 'ImageNotFound' });
    return undefined;
  });
/** A volume that a guest has written. */
const written = async (name: string, virtualBytes = 16 * MiB): Promise<CreateVolumeResult> => {
  const { image } = await flow.upload(name, { virtualBytes });
  const volume = await flow.create(image, { name });
  await writeAsGuest(diskOf(volume), { offset: 2 * MiB, bytes: MiB });
  return volume;
};
const downloaded = async ({ id: imageId, sizeBytes }: Image): Promise<string> => {
  const path = join(flow.directory, imageId);
  const { body } = await flow.stack.images.openDownload({ imageId, offsetBytes: 0, expectedBytes: sizeBytes ?? 0 });
  await pipeline(body, createWriteStream(path));
  return path;
};
const expectNothingLeft = async (imageId: string): Promise<void> => {
  expect(await findImage(imageId)).toBeUndefined();
  await expectNoSnapshots();
  await expectCleanSlate(flow.stack);
};
const isSoundQcow2 = async (path: string): Promise<boolean> => {
  const { errors, leaks } = await checkImage({ path, format: 'qcow2' });
  return errors === 0 && leaks === 0;
};
const expectNoSnapshots = async (): Promise<void> => {
  for (const folder of ['snapshots', 'partial-snapshots'])
    expect(await readdir(join(flow.stack.volumesDirectory, folder))).toEqual([]);
};
const resultOf = async (handle: WorkflowHandle): Promise<UploadVolumeResult> =>
  (await handle.result()) as UploadVolumeResult;
const untilSaving = async (imageId: string): Promise<void> =>
  void (await until(`image ${imageId} to be saving`, async () => (await findImage(imageId))?.status === 'saving'));

describe('UploadVolumeToImage', () => {
  it.each(['raw', 'qcow2'] as const)(
    'makes a %s image of a volume, from which the same volume is made',
    async (diskFormat) => {
      const volume = await written(`to-${diskFormat}`, 24 * MiB);
      const uploaded = await uploadOf(volume.volumeId, {
        name: 'golden',
        diskFormat,
        properties: { os_distro: 'debian' },
      });
      const image = await flow.stack.images.getImage(uploaded.imageId);
      expect(image).toMatchObject({
        name: 'golden',
        status: 'active',
        owner: volume.projectId,
        visibility: 'private',
        diskFormat,
        containerFormat: 'bare',
        minDiskGiB: 1,
        virtualSizeBytes: 24 * MiB,
        properties: { os_distro: 'debian', ivc_volume_id: volume.volumeId },
      });
      expect(uploaded.result).toMatchObject({ imageBytes: image.sizeBytes, hashValue: image.hashValue });
      const file = { path: await downloaded(image), format: diskFormat };
      // The half that is holes is not in the qcow2.
      expect((image.sizeBytes ?? 0) < 24 * MiB).toBe(diskFormat === 'qcow2');
      expect(diskFormat === 'raw' || (await isSoundQcow2(file.path))).toBe(true);
      expect(await isSameGuest(diskOf(volume), { filename: file.path, format: diskFormat })).toBe(true);
      const again = await flow.create(image);
      expect(again).toMatchObject({ outcome: 'miss', sizeBytes: GiB });
      expect(await isSameGuest(diskOf(volume), diskOf(again))).toBe(true);
      await expectNoSnapshots();
      await expectCleanSlate(flow.stack);
    },
  );

  it('uploads the volume as it was when it began', async () => {
    const volume = await written('moment');
    const before = await readGuest(diskOf(volume));
    const { imageId, handle } = await start(volume.volumeId);
    await flow.stack.imageService.inject({ kind: 'slow', imageId, on: 'upload', bytesPerSecond: 64 * MiB });
    await untilSaving(imageId);
    await writeAsGuest(diskOf(volume), { offset: 8 * MiB, bytes: MiB, pattern: 0x11 });
    await resultOf(handle);
    const path = await downloaded(await flow.stack.images.getImage(imageId));
    expect(await readGuest({ filename: path, format: 'raw' })).toEqual(before);
  });

  it('hands on what the volume has from its own image, as Cinder does, and no signature', async () => {
    const { sample } = await flow.upload('with-properties', { diskFormat: 'raw' });
    const { images } = flow.stack;
    const properties = { hw_disk_bus: 'scsi', img_signature: 'of-others', os_distro: 'debian' };
    const { id } = await images.createImage({ diskFormat: 'raw', containerFormat: 'bare', minRamMiB: 64, properties });
    await images.uploadImage({ imageId: id, body: createReadStream(sample.path), sizeBytes: sample.virtualBytes });
    const { volumeId } = await flow.create(await images.getImage(id));
    const { imageId } = await uploadOf(volumeId, { properties: { os_distro: 'mine' } });
    expect(await images.getImage(imageId)).toMatchObject({
      name: `volume-${volumeId}`,
      minRamMiB: 64,
      properties: { hw_disk_bus: 'scsi', os_distro: 'mine', ivc_volume_id: volumeId },
    });
    expect((await images.getImage(imageId)).properties).not.toHaveProperty('img_signature');
  });

  it('is the same image when the same request is sent again', async () => {
    const { volumeId } = await written('again');
    const imageId = randomUUID();
    const first = await uploadOf(volumeId, { imageId, by: 'somebody' });
    const second = await uploadOf(volumeId, { imageId });
    expect(second.result).toMatchObject({ imageId, hashValue: first.result.hashValue });
    const events = await (await flow.stack.cache.inventory()).listEvents({ volumeId, kind: 'volume.uploaded' });
    expect(events).toMatchObject([{ by: 'somebody', detail: { imageId } }]);
  });

  it('begins again when it is cut or refused', async () => {
    const volume = await written('cut');
    const imageId = randomUUID();
    const { imageService } = flow.stack;
    await imageService.inject({ kind: 'cut', imageId, on: 'upload', afterBytes: 5 * MiB });
    await imageService.inject({ kind: 'status-503', imageId, on: 'upload' });
    await uploadOf(volume.volumeId, { imageId });
    const path = await downloaded(await flow.stack.images.getImage(imageId));
    expect(await isSameGuest(diskOf(volume), { filename: path, format: 'raw' })).toBe(true);
  });

  it('fails, and leaves no image, where the service has stored other bytes than were sent', async () => {
    const { volumeId } = await written('spoilt');
    const imageId = randomUUID();
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId, on: 'upload', afterBytes: 3 * MiB });
    await expect(uploadOf(volumeId, { imageId })).rejects.toMatchObject({ type: 'ImageNotUploaded' });
    await expectNothingLeft(imageId);
  });

  it('leaves nothing when it is cancelled in the middle', async () => {
    const { volumeId } = await written('cancelled');
    const imageId = randomUUID();
    await flow.stack.imageService.inject({ kind: 'slow', imageId, on: 'upload', bytesPerSecond: SLOW });
    const { handle } = await start(volumeId, { imageId });
    await untilSaving(imageId);
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    await expectNothingLeft(imageId);
  });

  it('ends when its image is deleted in the middle', async () => {
    const { volumeId } = await written('deleted');
    const imageId = randomUUID();
    await flow.stack.imageService.inject({ kind: 'slow', imageId, on: 'upload', bytesPerSecond: SLOW });
    const { handle } = await start(volumeId, { imageId });
    await untilSaving(imageId);
    await flow.stack.images.deleteImage(imageId);
    await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'ImageNotFound' } });
    await expectNothingLeft(imageId);
  });

  it('goes on when its worker is killed in the middle', async () => {
    const volume = await written('killed');
    const imageId = randomUUID();
    await flow.stack.imageService.inject({ kind: 'slow', imageId, on: 'upload', bytesPerSecond: SLOW });
    const { handle } = await start(volume.volumeId, { imageId });
    await untilSaving(imageId);
    await flow.stack.workers.at(-1)?.stop('SIGKILL');
    await flow.stack.startWorker();
    await resultOf(handle);
    const path = await downloaded(await flow.stack.images.getImage(imageId));
    expect(await isSameGuest(diskOf(volume), { filename: path, format: 'raw' })).toBe(true);
    await expectNoSnapshots();
    await expectCleanSlate(flow.stack);
  });

  it('leaves no snapshot and no image when its run is terminated: a reconciliation removes them then, and none of a run that goes on', async () => {
    const { volumeId } = await written('terminated');
    const imageId = randomUUID();
    await flow.stack.imageService.inject({ kind: 'slow', imageId, on: 'upload', bytesPerSecond: MiB / 4 });
    const { handle } = await start(volumeId, { imageId });
    await untilSaving(imageId);
    const { cache, backend } = flow.stack;
    const findings = async () => (await reconcile(cache, { backend }, {})).result.findings;
    expect(await findings()).toEqual([]);
    await handle.terminate();
    await flow.stack.imageService.clearFaults();
    expect(await findings()).toMatchObject([
      { kind: 'image-without-bytes', action: 'repaired' },
      { kind: 'snapshot-of-ended-run', action: 'repaired' },
    ]);
    expect(await findImage(imageId)).toBeUndefined();
    await expectNoSnapshots();
    expect(await findings()).toEqual([]);
    await deleteVolume(cache, volumeId);
    await expectCleanSlate(flow.stack);
  });

  it('takes no image that is there, and leaves it as it is', async () => {
    const { volumeId } = await written('foreign');
    const { image } = await flow.upload('there');
    await expect(uploadOf(volumeId, { imageId: image.id })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'imageId' },
    });
    const { id } = await flow.stack.images.createImage({ diskFormat: 'raw', containerFormat: 'bare' });
    await expect(uploadOf(volumeId, { imageId: id })).rejects.toMatchObject({ type: 'InvalidRequest' });
    expect(await flow.stack.images.getImage(id)).toMatchObject({ status: 'queued' });
    expect(await flow.stack.images.getImage(image.id)).toEqual(image);
    await expectNoSnapshots();
  });

  it('is refused with the field that is wrong, and makes nothing', async () => {
    const { volumeId } = await written('refused');
    const { images, client, cache } = flow.stack;
    const before = (await images.listImages({ limit: 100 })).images.length;
    const refusals: [object, string][] = [
      [{ volumeId, diskFormat: 'vmdk' }, 'diskFormat'],
      [{ volumeId, containerFormat: 'ova' }, 'containerFormat'],
      [{ volumeId, visibility: 'all' }, 'visibility'],
      [{ volumeId, projectId: 'demo', visibility: 'public' }, 'visibility'],
      [{ volumeId, properties: { size: '1' } }, 'properties'],
      [{ volumeId, properties: { os_glance_importing: 'x' } }, 'properties'],
      [{ volumeId, properties: { signature_verified: 'True' } }, 'properties'],
      [{ volumeId, name: '' }, 'name'],
      [{ volumeId, nonsense: 1 }, 'nonsense'],
      [{}, 'volumeId'],
    ];
    for (const [input, field] of refusals) {
      const run = client.workflow.execute('UploadVolumeToImage', {
        workflowId: `my-upload-${randomUUID()}`,
        taskQueue: cache.queues.control,
        args: [input],
      });
      await expect(run).rejects.toMatchObject({ cause: { type: 'InvalidRequest', details: [{ field }] } });
    }
    await expect(uploadOf(randomUUID())).rejects.toMatchObject({ type: 'VolumeNotFound' });
    await deleteVolume(flow.stack.cache, volumeId);
    await expect(uploadOf(volumeId)).rejects.toMatchObject({ type: 'VolumeDeleted' });
    expect((await images.listImages({ limit: 100 })).images).toHaveLength(before);
  });

  it('is refused while a guest writes the volume, where its backend cannot take it then', async () => {
    const volume = await written('attached');
    const release = await holdAsGuest(diskOf(volume));
    try {
      const imageId = randomUUID();
      await expect(uploadOf(volume.volumeId, { imageId })).rejects.toMatchObject({ type: 'VolumeInUse' });
      await expectNothingLeft(imageId);
    } finally {
      await release();
    }
  });
});
