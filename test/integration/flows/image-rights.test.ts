import { randomUUID } from 'node:crypto';
import { ImageVolumeCacheError } from '../../../client/errors';
import { createSnapshot } from '../../../client/snapshots';
import { createVolume, createVolumes } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import type { ProjectId } from '../../../workflows/contract/ids';
import type { Image } from '../../../workflows/contract/image';
import type { CreateVolumeInput } from '../../../workflows/contract/volume';
import { createImageMembers } from '../../support/glance/image-members';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { startStandInKeystone, type StandInKeystone } from '../../support/openstack/stand-in-keystone';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { refreshFlows } from '../../support/stack/refresh';

let keystone: StandInKeystone;
const flow = useStack(async ({ after }) => {
  keystone = await startStandInKeystone();
  after(() => keystone.stop());
  const account = { authUrl: keystone.url, username: 'ivc', projectName: 'service' };
  return { config: { identity: account }, environment: { OS_PASSWORD: 'any' } };
});
const { follow } = refreshFlows(flow);

const owner = 'owner' as ProjectId;
const member = 'member' as ProjectId;
const stranger = 'stranger' as ProjectId;

/** An image of `owner`; nobody has cached its bytes. */
async function publish(visibility: string, name: string = randomUUID()): Promise<Image> {
  const sample = await makeSampleImage({ directory: flow.directory, name });
  return await uploadSample(flow.stack.images, sample, { name, owner, visibility });
}

const members = () => createImageMembers(flow.stack.imageService.url);
const createFor = (image: Image, projectId: ProjectId, input: Partial<CreateVolumeInput> = {}) =>
  flow.create(image, { projectId, ...input });
const createTwoFor = async (image: Image, projectId: ProjectId) =>
  await createVolumes(flow.stack.cache, { imageId: image.id, backend: flow.stack.backend, projectId, count: 2 }, {});

/** @returns what a caller is told, with `IMAGE` in place of the id that it has asked for. */
async function refusalOf(asked: string, create: Promise<unknown>): Promise<object> {
  const error: unknown = await create.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ImageVolumeCacheError)) throw new Error('it was not refused', { cause: error });
  const { type, message, details, exitCode } = error;
  return JSON.parse(JSON.stringify({ type, message, details, exitCode }).replaceAll(asked, 'IMAGE')) as object;
}

afterEach(async () => {
  await flow.stack.imageService.clearFaults();
  await expectCleanSlate(flow.stack);
});

it('with an identity a create must say for which project it is', async () => {
  const image = await publish('public');
  await expect(flow.create(image)).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'projectId' } });
  const { cache, backend } = flow.stack;
  await expect(createVolumes(cache, { imageId: image.id, backend, count: 2 }, {})).rejects.toMatchObject({
    type: 'InvalidRequest',
    details: { field: 'projectId' },
  });
});

it('what is made for a project that is not in Keystone is refused, whatever it is made of', async () => {
  const image = await publish('public');
  const { cache, backend } = flow.stack;
  const { volumeId } = await createFor(image, owner);
  const { result: snapshot } = await createSnapshot(cache, { volumeId, projectId: owner }, {});
  keystone.answerProjects({ status: 404 });
  const ofGone = () => ({ backend, projectId: randomUUID() });
  const made = [
    () => flow.create(image, ofGone()),
    () => createVolume(cache, { ...ofGone(), sizeBytes: MiB }),
    () => createVolume(cache, { ...ofGone(), snapshotId: snapshot.snapshotId }),
    () => createVolume(cache, { ...ofGone(), sourceVolumeId: volumeId }),
    () => createSnapshot(cache, { projectId: randomUUID(), volumeId }, {}),
  ];
  for (const make of made)
    await expect(make()).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'projectId' } });
  keystone.answerProjects({ status: 403 });
  expect(await createVolume(cache, { ...ofGone(), sizeBytes: MiB })).toMatchObject({ outcome: 'blank' });
});

it('a project uses its own images', async () => {
  for (const visibility of ['private', 'shared', 'community', 'public'])
    expect(await createFor(await publish(visibility), owner)).toMatchObject({ outcome: 'miss' });
});

it('a project uses public and community images, and those that are shared with it', async () => {
  const images = [await publish('shared'), await publish('community'), await publish('public')];
  for (const image of images) {
    await members().add(image.id, member);
    expect(await createFor(image, member)).toMatchObject({ outcome: 'miss' });
    expect(await createFor(image, member)).toMatchObject({ outcome: 'hit' });
  }
});

it('an image that a project may not see is an image that is not there', async () => {
  const absent = { id: randomUUID() } as Image;
  const expected = await refusalOf(absent.id, createFor(absent, stranger));
  expect(expected).toMatchObject({ type: 'ImageNotFound', details: { imageId: 'IMAGE' }, exitCode: 3 });
  for (const visibility of ['private', 'shared']) {
    const image = await publish(visibility);
    await flow.stack.images.deactivate(image.id);
    expect(await refusalOf(image.id, createFor(image, stranger))).toEqual(expected);
    await flow.stack.images.reactivate(image.id);
    expect(await refusalOf(image.id, createFor(image, stranger))).toEqual(expected);
    expect(await refusalOf(image.id, createFor(image, stranger, { sizeBytes: 512 }))).toEqual(expected);
  }
});

it('a removed member is refused at its next create, whatever would come of that', async () => {
  const [cold, flying, cached] = [await publish('shared'), await publish('shared'), await publish('shared')];
  for (const { id } of [cold, flying, cached]) await members().add(id, member);
  expect(await createFor(cached, member)).toMatchObject({ outcome: 'miss' });
  expect(await createFor(cached, member)).toMatchObject({ outcome: 'hit' });
  await flow.stack.imageService.inject({ kind: 'stall', imageId: flying.id });
  const leader = await flow.start(flying, { projectId: member });
  await flow.until('the image to be populated', async () => (await flow.flightOf(flying))?.runId ?? false);

  for (const { id } of [cold, flying, cached]) await members().remove(id, member);
  const refused = { type: 'ImageNotFound' };
  for (const image of [cold, flying, cached]) {
    await expect(createFor(image, member)).rejects.toMatchObject(refused);
    await expect(createFor(image, member, { bypassCache: true })).rejects.toMatchObject(refused);
    await expect(createTwoFor(image, member)).rejects.toMatchObject(refused);
  }
  expect(await flow.stack.imageService.counters(cold.id)).toMatchObject({ downloads: 0 });
  // A create that was admitted before stays admitted, and the image stays cached for those who may use it.
  await flow.stack.imageService.clearFaults();
  expect(await leader.result()).toMatchObject({ outcome: 'miss' });
  expect(await createFor(cached, owner)).toMatchObject({ outcome: 'hit' });
});

describe('a follow', () => {
  it('without an owner means public images alone', async () => {
    const name = `image-${randomUUID().slice(0, 8)}`;
    const meant = await publish('public', name);
    await publish('private', name);
    await publish('community', name);
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: meant.id });
  });

  it('of an image that a project may not see is a follow that is not there', async () => {
    const name = `image-${randomUUID().slice(0, 8)}`;
    const image = await publish('private', name);
    expect(await follow({ imageName: name, owner })).toMatchObject({ outcome: 'flipped', imageId: image.id });
    const create = (projectId: ProjectId, followed = name) =>
      flow.create({ ...image, id: `follow:${followed}` as Image['id'] }, { projectId });
    expect(await create(owner)).toMatchObject({ outcome: 'hit', imageId: image.id });
    const unknown = `image-${randomUUID().slice(0, 8)}`;
    const expected = await refusalOf(unknown, create(stranger, unknown));
    expect(expected).toMatchObject({ type: 'FollowNotFound' });
    expect(await refusalOf(name, create(stranger))).toEqual(expected);
  });
});
