import { createHash, randomUUID } from 'node:crypto';
import type { ImageId, VolumeId } from '../../../workflows/contract/ids';
import { workflowTypes } from '../../../workflows/contract/names';
import type { UploadVolumeInput, UploadVolumeResult } from '../../../workflows/contract/upload';
import type { Scenario } from './every-step';
import { finalFailure } from './faults';
import { resultOf, type Ending, type World } from './world';

interface UploadScenario {
  /** Subject of the titles' sentences. */
  name: string;
  input: UploadVolumeInput;
  /** That give the image its bytes; default: they are sent. */
  filling?: string[];
  /** That cache it. */
  cached?: string[];
  last?: string[];
  struck?: string[];
  /** Checks the images that there are. */
  checkImages?: (world: World, images: ImagesOfUpload) => Promise<void>;
}

export interface ImagesOfUpload {
  volumeId: VolumeId;
  /** By which uploads were asked for. */
  asked: ImageId[];
  /** Of these, those that there are. */
  present: ImageId[];
}

/** An upload that did not end well is sent again, as another image: an id is never used twice. */
export const uploadScenario = ({
  name,
  input,
  filling = ['uploadImage'],
  cached = [],
  last = [],
  struck,
  checkImages,
}: UploadScenario): Scenario => ({
  name,
  steps: [
    'planUpload',
    'ensureImageRecord',
    'takeImageSnapshot',
    'pickHost',
    ...filling,
    ...cached,
    'removeImageSnapshot',
    ...last,
  ],
  struck,
  prepare: async (world, fault) => {
    const { volumeId } = resultOf(await world.create());
    const { ids } = world.stack;
    const uploadAs = (imageId: ImageId): Promise<Ending<UploadVolumeResult>> =>
      world.run(workflowTypes.uploadVolumeToImage, ids.upload(volumeId, imageId), input);
    const first = randomUUID() as ImageId;
    const endings = new Map<ImageId, Ending<UploadVolumeResult>>();
    return {
      workflowId: ids.upload(volumeId, first),
      run: async () => {
        endings.set(first, await uploadAs(first));
        if (endings.get(first)?.kind === 'done') return;
        const second = randomUUID() as ImageId;
        endings.set(second, await uploadAs(second));
        expect(endings.get(second)).toMatchObject({ kind: 'done' });
      },
      check: async () => {
        const ending = endings.get(first);
        if (fault?.kind.startsWith('fails') && cached.includes(fault.step.activity))
          expect(ending).toMatchObject({ kind: 'done', result: { seeded: { outcome: 'failed' } } });
        else if (fault?.kind.startsWith('fails'))
          expect(ending).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
        else if (fault?.kind !== 'is-cancelled') expect(ending).toMatchObject({ kind: 'done' });
        const present: ImageId[] = [];
        for (const [imageId, { kind }] of endings)
          if (await isWhole(world, imageId)) present.push(imageId);
          else expect(kind).not.toBe('done');
        await checkImages?.(world, { volumeId, present, asked: [...endings.keys()] });
        expect(await world.stack.listing.snapshotsOf(volumeId)).toEqual([]);
        const { sql } = world.stack.database;
        expect(await sql`select status from volumes where id = ${volumeId}`).toEqual([{ status: null }]);
        expect(await sql`select from uploads where volume_id = ${volumeId}`).toEqual([]);
      },
    };
  },
});

/** The image has all its bytes, or it is not there. @returns which. */
async function isWhole({ stack: { images } }: World, imageId: ImageId): Promise<boolean> {
  const image = await images.getImage(imageId).catch((error: unknown) => {
    expect(error).toMatchObject({ type: 'ImageNotFound' });
    return undefined;
  });
  if (image === undefined) return false;
  expect(image).toMatchObject({ status: 'active', hashAlgorithm: 'sha512' });
  const hash = createHash('sha512');
  const { body } = await images.openDownload({ imageId, offsetBytes: 0, expectedBytes: image.sizeBytes ?? 0 });
  for await (const chunk of body) hash.update(chunk);
  expect(image.hashValue).toBe(hash.digest('hex'));
  return true;
}
