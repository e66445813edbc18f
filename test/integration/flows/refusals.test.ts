import { useStack } from '../../support/stack/flows';
import { uploadSample } from '../../support/images/sample-image';
import { cacheKeyOf } from '../../../activities/kit/cache-key';
import type { Image } from '../../../workflows/contract/image';
import { readIvc, runIvc } from '../../support/stack/ivc';

// Before the stack stops, which the next line declares.
afterAll(async () => {
  const { client, backend } = flow.stack;
  await client.workflow.getHandle(flow.stack.cache.queues.ids.evict(backend)).terminate('the test is over');
});
const flow = useStack();

/** One whose bytes are refused when all of them are there, with the right hash. */
async function uploadRefused(name: string): Promise<Image> {
  const { sample } = await flow.upload(name, { diskFormat: 'raw' });
  return await uploadSample(flow.stack.images, sample, { containerFormat: 'compressed' });
}

const shortKeyOf = (image: Image): string => cacheKeyOf(image).short;
const listed = async (): Promise<unknown> =>
  (await readIvc(['cache', 'refusals', '--backend', flow.stack.backend], flow.stack.environment)).document['refusals'];

it('is remembered where the bytes had the right hash, listed, and forgotten when an operator says so', async () => {
  const image = await uploadRefused('remembered');
  const { environment, imageService, backend } = flow.stack;
  const downloads = async () => (await imageService.counters(image.id)).downloads;
  for (let create = 1; create <= 2; create += 1)
    await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
  expect(await downloads()).toBe(1);
  const short = shortKeyOf(image);
  expect(await listed()).toEqual([
    expect.objectContaining({ backend, imageId: image.id, rule: 'container-not-compressed' }),
  ]);
  expect((await runIvc(['cache', 'refusals'], environment)).stdout).toContain(`${short}  ${backend}`);

  const forget = ['cache', 'forget-refusal', short.slice(0, 12), '--backend', backend];
  expect(await readIvc(forget, environment)).toMatchObject({
    exitCode: 0,
    document: { backend, result: { outcome: 'done', summary: expect.stringContaining(short) } },
  });
  expect(await listed()).toEqual([]);
  expect(await readIvc(forget, environment)).toMatchObject({
    exitCode: 0,
    document: { result: { outcome: 'nothing-to-do' } },
  });
  await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
  expect(await downloads()).toBe(2);
});

it('is neither remembered nor listed where the first bytes alone were refused', async () => {
  const { sample } = await flow.upload('early', { diskFormat: 'qcow2' });
  const image = await uploadSample(flow.stack.images, sample, { diskFormat: 'raw' });
  await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
  expect(await listed()).not.toContainEqual(expect.objectContaining({ imageId: image.id }));
});

it('asks for more digits where a beginning means several', async () => {
  const images = [await uploadRefused('first'), await uploadRefused('second')];
  for (const image of images) await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
  const { database, environment, backend } = flow.stack;
  // Two short keys that begin alike: a collision of so many digits is not waited for.
  for (const [index, image] of images.entries())
    await database.sql`update populations set short_key = ${`${'0'.repeat(31)}${index}`} where short_key = ${shortKeyOf(image)}`;
  const forgotten = await readIvc(['cache', 'forget-refusal', '0000', '--backend', backend], environment);
  expect(forgotten).toMatchObject({ exitCode: 2, document: { result: { outcome: 'refused' } } });
  expect(await listed()).toHaveLength(images.length + 1);
});
