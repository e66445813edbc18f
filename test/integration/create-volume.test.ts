import { randomUUID } from 'node:crypto';
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createVolume, deleteVolume } from '../../client/volumes';
import { GiB, MiB } from '../../workflows/contract/bytes';
import type { VolumeId } from '../../workflows/contract/ids';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import { brand } from '../support/brand';
import { makeSampleImage, uploadSample } from '../support/images/sample-image';
import { useStack } from '../support/stack/flows';

const HERD = 16;

const flow = useStack();

describe('CreateVolumeFromImage', () => {
  it('populates the cache on the first create and clones on the next ones', async () => {
    const { sample, image } = await flow.upload('first');
    const miss = await flow.create(image);
    expect(miss).toMatchObject({ outcome: 'miss', sizeBytes: sample.virtualBytes, bytesDownloaded: image.sizeBytes });
    await flow.expectGuestBytes(sample, miss);

    const hit = await flow.create(image);
    expect(hit).toMatchObject({ outcome: 'hit', bytesDownloaded: 0 });
    await flow.expectGuestBytes(sample, hit);
    const entries = await flow.stack.inventory.entries();
    expect(entries).toMatchObject([{ state: 'ready', generation: 1, uses: 2, virtualBytes: sample.virtualBytes }]);
    expect(readdirSync(join(flow.stack.scratchDirectory, 'images'))).toEqual([]);
  });

  it('serves raw images and grows volumes with zeros', async () => {
    const { sample, image } = await flow.upload('raw', { diskFormat: 'raw', virtualBytes: 8 * MiB });
    const grown = await flow.create(image, { sizeBytes: 24 * MiB });
    expect(grown).toMatchObject({ outcome: 'miss', sizeBytes: 24 * MiB });
    await flow.expectGuestBytes(sample, grown);
  });

  it('downloads and populates once for a herd, every volume with the image’s bytes', async () => {
    const { sample, image } = await flow.upload('herd');
    const volumes = await Promise.all(Array.from({ length: HERD }, () => flow.create(image)));
    const outcomes = volumes.map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'miss')).toHaveLength(1);
    expect(new Set(outcomes)).toEqual(new Set(['miss', 'joined']));
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({
      downloads: 1,
      bytesServed: image.sizeBytes,
    });
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
  });

  it('answers the same request with the same volume, and refuses another request for it', async () => {
    const { image } = await flow.upload('same');
    const volumeId = brand<VolumeId>(randomUUID());
    const first = await flow.create(image, { volumeId });
    const again = await flow.create(image, { volumeId });
    expect(again).toMatchObject({ volumeId, outcome: first.outcome, connection: first.connection });
    await expect(flow.create(image, { volumeId, name: 'another' })).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('gives a volume all that its image’s record says, and refuses an image that says too much', async () => {
    const { sample } = await flow.upload('described');
    const properties = { hw_disk_bus: 'scsi', os_distro: 'debian\n\u001b[31m', constructor: 'c' };
    const described = async (more: Record<string, string>) => {
      const { id } = await flow.stack.images.createImage({
        name: 'described',
        diskFormat: 'qcow2',
        containerFormat: 'bare',
        minDiskGiB: 1,
        properties: { ...properties, ...more },
      });
      const body = createReadStream(sample.path);
      await flow.stack.images.uploadImage({ imageId: id, body, sizeBytes: statSync(sample.path).size });
      return await flow.stack.images.getImage(id);
    };
    const image = await described({});
    const { volumeId } = await flow.create(image, { sizeBytes: GiB });
    expect(await flow.volume(volumeId)).toMatchObject({ bootable: true, state: 'available' });
    expect((await flow.volume(volumeId))?.imageMetadata).toEqual({
      ...properties,
      image_id: image.id,
      image_name: 'described',
      checksum: image.checksum,
      container_format: 'bare',
      disk_format: 'qcow2',
      min_disk: '1',
      min_ram: '0',
      size: String(image.sizeBytes),
    });
    const refused = flow.create(await described({ a: 'x'.repeat(40_000), b: 'x'.repeat(40_000) }), { sizeBytes: GiB });
    await expect(refused).rejects.toMatchObject({ type: 'ImageUnsupported' });
  });

  it('bypasses the cache when asked to, and leaves no entry', async () => {
    const { sample, image } = await flow.upload('bypass');
    const volume = await flow.create(image, { bypassCache: true, sizeBytes: 32 * MiB });
    expect(volume).toMatchObject({ outcome: 'bypassed', sizeBytes: 32 * MiB, bytesDownloaded: image.sizeBytes });
    await flow.expectGuestBytes(sample, volume);
    const entries = await flow.stack.inventory.entries();
    expect(entries.filter(({ hashValue }) => hashValue === image.hashValue)).toEqual([]);
  });

  it.each([
    ['names its volume', { volumeId: brand<VolumeId>(randomUUID()) }],
    ['derives the volume from it', {}],
  ])('takes any workflow id, for a miss, a hit and a bypass alike; a caller %s', async (what, input) => {
    const { sample, image } = await flow.upload(what.replaceAll(' ', '-'));
    for (const [outcome, more] of [
      ['miss', {}],
      ['hit', { volumeId: undefined }],
      ['bypassed', { volumeId: undefined, bypassCache: true }],
    ] as const) {
      const request = { imageId: image.id, backend: flow.stack.backend, ...input, ...more };
      const volume = (await flow.stack.client.workflow.execute('CreateVolumeFromImage', {
        workflowId: `my-create-${randomUUID()}`,
        taskQueue: flow.stack.cache.queues.control,
        args: [request],
      })) as CreateVolumeResult;
      expect(volume).toMatchObject({
        outcome,
        ...(request.volumeId === undefined ? {} : { volumeId: request.volumeId }),
      });
      await flow.expectGuestBytes(sample, volume);
      expect(await deleteVolume(flow.stack.cache, volume.volumeId)).toMatchObject({ outcome: 'deleted' });
    }
    expect(readdirSync(join(flow.stack.scratchDirectory, 'images'))).toEqual([]);
  });

  it('deletes a volume and its file; a deleted id is never used again', async () => {
    const { image } = await flow.upload('delete');
    const { volumeId } = await flow.create(image);
    expect(await deleteVolume(flow.stack.cache, volumeId)).toMatchObject({ outcome: 'deleted' });
    expect(await deleteVolume(flow.stack.cache, volumeId)).toMatchObject({ outcome: 'absent' });
    expect(
      readdirSync(join(flow.stack.volumesDirectory, 'volumes')).filter((name) => name.startsWith(volumeId)),
    ).toEqual([]);
    await expect(flow.create(image, { volumeId })).rejects.toMatchObject({ type: 'VolumeDeleted' });
  });
});

describe('bad input', () => {
  const makeVolume = (input: Record<string, unknown>) =>
    createVolume(flow.stack.cache, { imageId: randomUUID(), backend: flow.stack.backend, ...input });

  it.each([
    [
      'an image id that is no UUID',
      { imageId: 'debian' },
      { type: 'InvalidRequest', exitCode: 2, details: { field: 'imageId', value: '"debian"' } },
    ],
    ['an unknown image', {}, { type: 'ImageNotFound', exitCode: 3 }],
    [
      'an unknown backend',
      { backend: 'nowhere' },
      { type: 'BackendNotFound', exitCode: 3, details: { backend: '"nowhere"' } },
    ],
    [
      'a size that is no number',
      { sizeBytes: '10G' },
      { type: 'InvalidRequest', details: { field: 'sizeBytes', value: '"10G"' } },
    ],
    [
      'a size that is no multiple of 512',
      { sizeBytes: 1000 },
      {
        type: 'InvalidRequest',
        details: { field: 'sizeBytes', value: '1000', allowed: expect.stringContaining('512') },
      },
    ],
    ['an unknown field', { size: 5 }, { type: 'InvalidRequest', details: { field: 'size', value: '5' } }],
  ])('refuses %s with one clear error, no row and no file', async (_what, input, expected) => {
    const volumeId = brand<VolumeId>(randomUUID());
    await expect(makeVolume({ volumeId, ...input })).rejects.toMatchObject(expected);
    expect(await flow.stack.inventory.volume(volumeId)).toBeUndefined();
    expect(
      readdirSync(join(flow.stack.volumesDirectory, 'volumes')).filter((name) => name.startsWith(volumeId)),
    ).toEqual([]);
    expect(await flow.stack.inventory.decisions(volumeId)).toMatchObject([
      { outcome: 'refused', errorType: expected.type },
    ]);
  });

  it('refuses a size below min_disk and below the virtual size, naming the limit', async () => {
    const sample = await makeSampleImage({ directory: flow.directory, name: 'sizes' });
    const image = await uploadSample(flow.stack.images, sample, { minDiskGiB: 1 });
    await expect(makeVolume({ imageId: image.id, sizeBytes: 32 * MiB })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'sizeBytes', allowed: expect.stringContaining('min_disk') },
    });
    const plain = await uploadSample(flow.stack.images, sample);
    await expect(makeVolume({ imageId: plain.id, sizeBytes: 4 * MiB })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'sizeBytes', allowed: expect.stringContaining('virtual size') },
    });
  });

  it('refuses a volume that the backend could never hold, naming what it can', async () => {
    const { image } = await flow.upload('vast');
    const volumeId = brand<VolumeId>(randomUUID());
    await expect(makeVolume({ volumeId, imageId: image.id, sizeBytes: 2 ** 52 })).rejects.toMatchObject({
      type: 'NoSpace',
      exitCode: 1,
      details: { backend: flow.stack.backend, neededBytes: 2 ** 52, freeBytes: expect.any(Number) },
    });
    expect(await flow.stack.inventory.volume(volumeId)).toBeUndefined();
  });

  it('refuses a queued and a deactivated image', async () => {
    const queued = await flow.stack.images.createImage({ name: 'queued', diskFormat: 'raw', containerFormat: 'bare' });
    await expect(makeVolume({ imageId: queued.id })).rejects.toMatchObject({ type: 'ImageNotActive', exitCode: 4 });
    const { image } = await flow.upload('deactivated');
    await flow.stack.images.deactivate(image.id);
    await expect(makeVolume({ imageId: image.id })).rejects.toMatchObject({ type: 'ImageNotActive' });
  });

  it('ends a create of a lying image with a typed refusal, the row in error and nothing left, and tries again when asked again', async () => {
    const sample = await makeSampleImage({ directory: flow.directory, name: 'lying' });
    const image = await uploadSample(flow.stack.images, sample, { diskFormat: 'raw' });
    const volumeId = brand<VolumeId>(randomUUID());
    for (const _try of ['first', 'second']) {
      await expect(makeVolume({ volumeId, imageId: image.id })).rejects.toMatchObject({
        type: 'ImageRefused',
        exitCode: 4,
      });
      expect(await flow.stack.inventory.volume(volumeId)).toMatchObject({
        state: 'error',
        errorType: 'ImageRefused',
        entryId: null,
      });
    }
    expect(await flow.stack.inventory.sums()).toMatchObject({ reservedBytes: 0 });
    expect(await deleteVolume(flow.stack.cache, volumeId)).toMatchObject({ outcome: 'deleted' });
  });
});
