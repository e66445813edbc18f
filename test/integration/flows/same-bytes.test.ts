import { warmCache } from '../../../client/refresh';
import type { CreateImageRequest } from '../../../activities/glance/image-service';
import type { Image } from '../../../workflows/contract/image';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { uploadSample } from '../../support/images/sample-image';

const CREATES_OF_EACH = 2;
/** More than the rounds that a create takes for a parent of its own. */
const IMAGES = 12;

describe('images with the same bytes', () => {
  const flow = useStack();
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  const uploadMany = async (name: string, { images, ...more }: { images: number } & Partial<CreateImageRequest>) => {
    const { sample } = await flow.upload(name, more.containerFormat ? { diskFormat: 'raw' } : {});
    const uploads = Array.from({ length: images }, () => uploadSample(flow.stack.images, sample, more));
    return { sample, images: await Promise.all(uploads) };
  };

  /** As the client library tells it: the run's failure with its exit code. */
  const failureOf = (image: Image) =>
    flow.create(image).then(
      () => undefined,
      (error: unknown) => error,
    );

  const refusalOf = ({ id: imageId }: Image) => ({
    type: 'ImageRefused',
    exitCode: 4,
    details: expect.objectContaining({ imageId }),
  });

  it.each([
    // Known when all bytes are there, and have the right hash.
    ['by their bytes, which come once', { containerFormat: 'compressed' }, 1],
    // Known before, so that each image's own bytes are asked.
    ['by the first bytes of each', { diskFormat: 'raw' }, 4],
  ])(
    'are all refused when they come at once, %s, and each create hears it of its own image',
    async (what, more, asked) => {
      const { images } = await uploadMany(what.replaceAll(/\W+/g, '-'), { images: 4, ...more });
      const herd = images.flatMap((image) => Array.from({ length: CREATES_OF_EACH }, () => image));
      const failures = await Promise.all(herd.map(failureOf));
      for (const [index, image] of herd.entries()) expect(failures[index]).toMatchObject(refusalOf(image));
      const counters = await Promise.all(images.map(({ id }) => flow.stack.imageService.counters(id)));
      expect(counters.filter(({ downloads }) => downloads > 0)).toHaveLength(asked);
    },
  );

  it('are refused by what is remembered of one of them, by creates and by warming', async () => {
    const { images } = await uploadMany('refused-before', { images: 2, containerFormat: 'compressed' });
    const [first, second] = images as [Image, Image];
    expect(await failureOf(first)).toMatchObject(refusalOf(first));
    expect(await failureOf(second)).toMatchObject(refusalOf(second));
    const { cache, backend, imageService } = flow.stack;
    const warmed = await warmCache(cache, { imageIds: [second.id], backends: [backend] }, { wait: true });
    expect(warmed.result).toMatchObject({
      warmed: [{ outcome: 'failed', imageId: second.id, summary: expect.stringContaining(second.id) }],
    });
    expect(await imageService.counters(second.id)).toMatchObject({ bytesServed: 0 });
  });

  it('do not share what is wrong with the record of one: its create fails, and the others go on until one is sound', async () => {
    const { sample, images } = await uploadMany('deleted-meanwhile', { images: IMAGES });
    for (const { id } of images)
      await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: id, times: 1_000_000 });
    const running = await Promise.all(images.map((image) => flow.start(image)));
    for (const { volumeId } of running) await flow.untilWaiting(volumeId);
    const [sound, ...gone] = running.map((create, index) => ({ create, image: images[index] as Image }));
    for (const { image } of gone) await flow.stack.images.deleteImage(image.id);
    await flow.stack.imageService.clearFaults();
    for (const { create, image } of gone)
      await create.result().then(
        (volume) => expect(['miss', 'joined']).toContain(volume.outcome),
        (error: unknown) =>
          expect(error).toMatchObject({ cause: { type: 'ImageNotFound', details: [{ imageId: image.id }] } }),
      );
    const volume = await sound?.create.result();
    expect(volume).toBeDefined();
    if (volume) await flow.expectGuestBytes(sample, volume);
  });
});
