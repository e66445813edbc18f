import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAbsent } from '../../lib/errno';
import type { ImageId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { UploadVolumeInput, UploadVolumeResult } from '../../workflows/contract/upload';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { resultOf, type Ending, type World } from '../support/every-step/world';

const filled = ['planUpload', 'ensureImageRecord', 'takeImageSnapshot', 'pickHost', 'uploadImage'];

/** An upload that did not end well is sent again, as another image: an id is never used twice. */
const upload = (
  name: string,
  input: UploadVolumeInput,
  { cached = [], last = [], struck }: { cached?: string[]; last?: string[]; struck?: string[] } = {},
): Scenario => ({
  name,
  steps: [...filled, ...cached, 'removeImageSnapshot', ...last],
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
        for (const [imageId, { kind }] of endings) await expectWhole(world, imageId, { mayBeGone: kind !== 'done' });
        expect(await snapshotsOf(world, volumeId)).toEqual([]);
        const { sql } = world.stack.database;
        expect(await sql`select status from volumes where id = ${volumeId}`).toEqual([{ status: null }]);
        expect(await sql`select from uploads where volume_id = ${volumeId}`).toEqual([]);
      },
    };
  },
});

describe('UploadVolumeToImage', () => {
  describeEveryStep({
    UploadVolumeToImage: [
      upload('an upload as raw', {}),
      upload(
        'an upload that holds its volume',
        { diskFormat: 'qcow2', holdVolume: true },
        { last: ['endUploadHold'], struck: ['planUpload', 'ensureImageRecord', 'uploadImage', 'endUploadHold'] },
      ),
      upload('an upload as qcow2', { diskFormat: 'qcow2' }, { struck: ['uploadImage'] }),
      upload(
        'an upload that is cached',
        { diskFormat: 'qcow2', seedCache: true },
        { cached: ['openWarming', 'awaitVerdict', 'openWarming'], struck: ['openWarming', 'awaitVerdict'] },
      ),
    ],
  });
});

/** The image has all its bytes, or it is not there. */
async function expectWhole(
  { stack: { images } }: World,
  imageId: ImageId,
  { mayBeGone }: { mayBeGone: boolean },
): Promise<void> {
  const image = await images.getImage(imageId).catch((error: unknown) => {
    expect(error).toMatchObject({ type: 'ImageNotFound' });
    return undefined;
  });
  if (image === undefined) return expect(mayBeGone).toBe(true);
  expect(image).toMatchObject({ status: 'active', hashAlgorithm: 'sha512' });
  const hash = createHash('sha512');
  const { body } = await images.openDownload({ imageId, offsetBytes: 0, expectedBytes: image.sizeBytes ?? 0 });
  for await (const chunk of body) hash.update(chunk);
  expect(image.hashValue).toBe(hash.digest('hex'));
}

/** @returns what is left of snapshots of the volume. */
async function snapshotsOf({ stack: { volumesDirectory } }: World, volumeId: string): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ['snapshots', 'partial-snapshots']) {
    const directory = join(volumesDirectory, folder);
    for (const name of (await readdir(directory)).filter((file) => file.includes('.json')))
      if ((await unlessAbsent(readFile(join(directory, name), 'utf8')))?.includes(volumeId)) found.push(name);
  }
  return found;
}
