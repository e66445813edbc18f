import { readFileSync } from 'node:fs';
import { createServer } from '../../api/http-server';
import { createGlanceClient } from '../../activities/glance/client';
import type { ImageService } from '../../activities/glance/image-service';
import { openIdentity, type Identity } from '../../activities/keystone/identity';
import { configSchema } from '../../client/config/schema';
import { createLogger } from '../../client/logger';
import type { ImageVolumeCacheError } from '../../client/errors';
import { shareSnapshot, unshareSnapshot } from '../../client/share-snapshots';
import { uploadVolume } from '../../client/uploads';
import { getQuotas, getVolume } from '../../client/reads';
import { createSnapshot } from '../../client/snapshots';
import { createVolume, createVolumes, deleteVolume, reimageVolume } from '../../client/volumes';
import { MiB } from '../../workflows/contract/bytes';
import type { ProjectId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import { createImageMembers } from '../support/glance/image-members';
import { makeSampleImage, uploadSample, type SampleImage } from '../support/images/sample-image';
import { startRealCloud, type CloudProject, type RealCloud } from '../support/openstack/cloud';
import { expectCleanSlate, useStack } from '../support/stack/flows';
import { readIvc } from '../support/stack/ivc';
import { refreshFlows } from '../support/stack/refresh';

const START_TIMEOUT_MS = 300_000;
const TOKEN_SECONDS = 1800;
/** Creates of the matrix that run at once. */
const AT_ONCE = 12;

const visibilities = ['public', 'community', 'shared', 'private'] as const;
const states = ['active', 'hidden and protected', 'deactivated', 'queued', 'deleted'] as const;
const projects = ['owner', 'stranger', 'pending', 'accepted', 'rejected', 'removed'] as const;
const answers = ['pending', 'accepted', 'rejected'] as const;
type Project = (typeof projects)[number];
type Told = 'volume' | 'ImageNotActive' | 'ImageNotFound';

/** Those who are told of an image of `owner`. */
const seenBy: Record<(typeof visibilities)[number], readonly Project[]> = {
  public: projects,
  community: projects,
  shared: ['owner', ...answers],
  private: ['owner'],
};
const toldWhoSees: Record<(typeof states)[number], Told> = {
  active: 'volume',
  'hidden and protected': 'volume',
  deactivated: 'ImageNotActive',
  queued: 'ImageNotActive',
  deleted: 'ImageNotFound',
};

let cloud: RealCloud;
let service: CloudProject;
let administrator: CloudProject;
const opened = new Map<CloudProject, Identity>();

const flow = useStack(async ({ after }) => {
  cloud = await startRealCloud({ tokenSeconds: TOKEN_SECONDS, cachesTokens: true });
  after(() => cloud.stop());
  after(async () => void (await Promise.all([...opened.values()].map((identity) => identity.close()))));
  service = await cloud.addProject('cache', ['image_volume_cache']);
  administrator = await cloud.addProject('operators', ['admin']);
  return {
    config: { identity: service.identity, images: { service: 'catalogue' } },
    environment: { OS_PASSWORD: service.password },
    imagesEndpoint: cloud.glance.endpoint,
    getToken: open(administrator).getToken,
  };
}, START_TIMEOUT_MS);

function open(project: CloudProject): Identity {
  const account = opened.get(project) ?? openIdentity(project.identity, { OS_PASSWORD: project.password });
  opened.set(project, account);
  return account;
}

function asUserOf(project: CloudProject): ImageService {
  return createGlanceClient({ endpoint: cloud.glance.endpoint, getToken: open(project).getToken });
}

async function headersOf(project: CloudProject): Promise<Record<string, string>> {
  return { 'x-auth-token': (await open(project).getToken()).reveal() };
}

const edit = async (image: Image, fields: object, by = administrator): Promise<number> => {
  const operations = Object.entries(fields).map(([field, value]: [string, unknown]) => ({
    op: 'replace',
    path: `/${field}`,
    value,
  }));
  const answer = await fetch(`${cloud.glance.endpoint}/v2/images/${image.id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/openstack-images-v2.1-json-patch', ...(await headersOf(by)) },
    body: JSON.stringify(operations),
  });
  await answer.arrayBuffer();
  return answer.status;
};

const createFor = (image: Image, { projectId }: CloudProject, bypassCache = false) =>
  flow.create(image, { projectId, bypassCache });
const verbs: Record<string, (image: Image, project: CloudProject) => Promise<unknown>> = {
  create: createFor,
  'create past the cache': (image, project) => createFor(image, project, true),
  'create of several': (image, { projectId }) =>
    createVolumes(flow.stack.cache, { imageId: image.id, backend: flow.stack.backend, projectId, count: 2 }, {}),
  reimage: async (image, { projectId }) => {
    const { volumeId } = await blankOf(projectId);
    return await reimageVolume(flow.stack.cache, volumeId, { imageId: image.id, projectId });
  },
};

/** The same through the block-storage API, by a member of the project that a header names. Each says what Cinder answers to what it refuses. */
const apiVerbs: typeof verbs = {
  'create through the API': async (image, { projectId }) => {
    const body = { volume: { imageRef: image.id, size: 1 } };
    const answer = await throughApi(
      '/volumes',
      { projectId, image, body },
      { ImageNotFound: 400, ImageNotActive: 400 },
    );
    await untilAvailable((JSON.parse(answer) as { volume: { id: string } }).volume.id);
  },
  'os-reimage through the API': async (image, { projectId }) => {
    const { volumeId } = await makeBlank(projectId);
    const body = { 'os-reimage': { image_id: image.id } };
    const path = `/volumes/${volumeId}/action`;
    // An answer of 202 may also be one that could not wait for the refusal: asked again, it tells.
    do {
      await throughApi(path, { projectId, image, body }, { ImageNotFound: 404, ImageNotActive: 400 });
      await untilAvailable(volumeId);
    } while ((await flow.volume(volumeId))?.imageId !== image.id);
  },
};

let api: ReturnType<typeof createServer>;
let apiUrl: string;
/** Texts of refusals by verb and type, without ids. */
const refusals = new Map<string, Set<string>>();
beforeAll(async () => {
  api = createServer(
    { cache: flow.stack.cache, availabilityZone: 'nova', publicUrl: undefined },
    {
      logger: createLogger('error'),
      limits: configSchema.parse({}).api.limits,
      authenticate: async ({ headers }) => {
        const projectId = String(headers['x-project']) as ProjectId;
        return await Promise.resolve({ projectId, userId: 'somebody', roles: ['member'], byService: false });
      },
    },
  );
  apiUrl = await api.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => api.close());

type Refusal = Exclude<Told, 'volume'>;
const refusalTexts: Record<Refusal, RegExp> = {
  ImageNotFound: /there is no image ID that this project may read/,
  ImageNotActive: /image ID is \w+; only an active/,
};

/** @returns what is answered. @throws as the client does, where the answer is that of a refusal. */
async function throughApi(
  path: string,
  { projectId, image, body }: { projectId: ProjectId; image: Image; body: object },
  statuses: Record<Refusal, number>,
): Promise<string> {
  const answer = await fetch(`${apiUrl}/v3/${projectId}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'openstack-api-version': 'volume 3.70',
      'x-project': projectId,
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (answer.status === 202) return text;
  const said = text.replaceAll(image.id, 'ID');
  const type = (['ImageNotFound', 'ImageNotActive'] as const).find(
    (each) => statuses[each] === answer.status && refusalTexts[each].test(said),
  );
  if (type === undefined) throw new Error(`${answer.status} ${said}`);
  const key = `${path.startsWith('/volumes/') ? 'os-reimage' : 'create'}: ${type}`;
  refusals.set(key, (refusals.get(key) ?? new Set()).add(said));
  throw Object.assign(new Error(said), { type });
}

async function untilAvailable(volumeId: string): Promise<void> {
  await flow.until(`volume ${volumeId} to be available`, async () => {
    const row = await flow.volume(volumeId);
    return row?.state === 'available' && row.status === null;
  });
}

const blanks = new Map<ProjectId, ReturnType<typeof makeBlank>>();
const makeBlank = async (projectId: ProjectId) =>
  await createVolume(flow.stack.cache, { backend: flow.stack.backend, projectId, sizeBytes: MiB });
/** One volume of each project, which is reimaged again and again. */
const blankOf = async (projectId: ProjectId) => {
  const blank = blanks.get(projectId) ?? makeBlank(projectId);
  blanks.set(projectId, blank);
  return await blank;
};

async function* someBytes(): AsyncGenerator<Buffer> {
  yield Buffer.from('bytes');
}

async function told(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'volume',
    ({ type, message }: ImageVolumeCacheError) => type ?? message,
  );
}

describe('what a project may make volumes of', () => {
  const users = new Map<Project, CloudProject>();
  const userOf = (project: Project): CloudProject => {
    const found = users.get(project);
    if (found === undefined) throw new Error(`no user of ${project}`);
    return found;
  };
  const cells: { image: Image; visibility: (typeof visibilities)[number]; state: (typeof states)[number] }[] = [];
  let sample: SampleImage;

  beforeAll(async () => {
    for (const project of projects) users.set(project, await cloud.addProject(project, ['member']));
    sample = await makeSampleImage({ directory: flow.directory, name: 'matrix', virtualBytes: MiB, dataBytes: MiB });
    for (const visibility of visibilities)
      for (const state of states) cells.push({ image: await publish(visibility, state), visibility, state });
  }, START_TIMEOUT_MS);

  async function publish(visibility: string, state: string): Promise<Image> {
    const { images } = flow.stack;
    const more = { owner: userOf('owner').projectId, visibility, name: `${visibility}-${state}` };
    const image =
      state === 'queued'
        ? await images.createImage({ ...more, diskFormat: 'raw', containerFormat: 'bare' })
        : await uploadSample(images, sample, more);
    if (visibility === 'shared') await share(image);
    if (state === 'hidden and protected') await edit(image, { os_hidden: true, protected: true });
    if (state === 'deactivated') await images.deactivate(image.id);
    if (state === 'deleted') await images.deleteImage(image.id);
    return image;
  }

  async function share(image: Image): Promise<void> {
    const members = createImageMembers(cloud.glance.endpoint, await headersOf(administrator));
    const { projectId: removed } = userOf('removed');
    await members.add(image.id, removed);
    expect((await members.remove(image.id, removed)).status).toBe(204);
    for (const answer of answers) {
      const { projectId } = userOf(answer);
      await members.add(image.id, projectId);
      expect((await members.answer(image.id, projectId, answer)).status).toBe(200);
    }
  }

  /** The same question to Glance itself, with a token of the project's own user. */
  async function askGlance(image: Image, project: Project): Promise<string> {
    const headers = await headersOf(userOf(project));
    const url = `${cloud.glance.endpoint}/v2/images/${image.id}`;
    const [record, data] = await Promise.all([fetch(url, { headers }), fetch(`${url}/file`, { headers })]);
    await Promise.all([record.arrayBuffer(), data.arrayBuffer()]);
    if (record.status === 404) return 'ImageNotFound';
    return data.status === 200 ? 'volume' : 'ImageNotActive';
  }

  it('is what Glance gives its own user, by visibility, membership, state and verb', async () => {
    const rows = cells.flatMap(({ image, visibility, state }) =>
      projects.map((project) => {
        const expected: Told = seenBy[visibility].includes(project) ? toldWhoSees[state] : 'ImageNotFound';
        return { image, visibility, state, project, expected };
      }),
    );
    const questions = rows.flatMap(({ image, visibility, state, project, expected }) => [
      { cell: `${visibility} ${state} ${project}: Glance`, expected, ask: () => askGlance(image, project) },
      ...Object.entries({ ...verbs, ...apiVerbs }).map(([verb, work]) => ({
        cell: `${visibility} ${state} ${project}: ${verb}`,
        expected,
        ask: () => told(work(image, userOf(project))),
      })),
    ]);
    const found = new Map<string, string>();
    const waiting = [...questions];
    const askInTurn = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
        found.set(next.cell, await next.ask());
    };
    await Promise.all(Array.from({ length: AT_ONCE }, askInTurn));
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries(questions.map(({ cell, expected }) => [cell, expected])),
    );
    // An image that a project may not see is answered like one that is not there.
    for (const verb of ['create', 'os-reimage']) expect(refusals.get(`${verb}: ImageNotFound`)?.size).toBe(1);
    await expectCleanSlate(flow.stack);
  });

  it('ends with its membership, though the image is cached', async () => {
    const { image } = await flow.upload('revoked', { virtualBytes: MiB, dataBytes: MiB });
    const members = createImageMembers(cloud.glance.endpoint, await headersOf(administrator));
    const member = userOf('accepted');
    await members.add(image.id, member.projectId);
    expect(await createFor(image, member)).toMatchObject({ outcome: 'miss' });
    expect(await createFor(image, member)).toMatchObject({ outcome: 'hit' });
    await members.remove(image.id, member.projectId);
    for (const work of Object.values(verbs)) expect(await told(work(image, member))).toBe('ImageNotFound');
    expect(await createFor(image, administrator)).toMatchObject({ outcome: 'hit' });
  });

  it('leaves to a project what it has made, when its membership has ended, and tells a stranger nothing of it', async () => {
    const { image } = await flow.upload('kept', { virtualBytes: MiB, dataBytes: MiB });
    const members = createImageMembers(cloud.glance.endpoint, await headersOf(administrator));
    const [member, stranger] = [userOf('accepted'), userOf('stranger')];
    const { cache } = flow.stack;
    await members.add(image.id, member.projectId);
    const { volumeId } = await createFor(image, member);
    const { snapshotId } = (await createSnapshot(cache, { volumeId, projectId: member.projectId }, {})).result;
    await members.remove(image.id, member.projectId);
    /** Verbs on a volume and its snapshot, which need neither Glance's permission nor the image's. */
    const ofVolume: Record<string, (projectId: ProjectId) => Promise<unknown>> = {
      show: (projectId) => getVolume(cache, volumeId, { projectId }),
      snapshot: (projectId) => createSnapshot(cache, { volumeId, projectId }, {}),
      'create of a snapshot': (projectId) => createVolume(cache, { snapshotId, projectId }),
      'create of a volume': (projectId) => createVolume(cache, { sourceVolumeId: volumeId, projectId }),
      upload: (projectId) => uploadVolume(cache, { volumeId, projectId }, { wait: true }),
    };
    for (const [verb, work] of Object.entries(ofVolume)) {
      expect([verb, await told(work(member.projectId))]).toEqual([verb, 'volume']);
      const absent = verb === 'create of a snapshot' ? 'SnapshotNotFound' : 'VolumeNotFound';
      expect([verb, await told(work(stranger.projectId))]).toEqual([verb, absent]);
    }
    const reimage = ({ projectId }: CloudProject) =>
      told(reimageVolume(cache, volumeId, { imageId: image.id, projectId }));
    expect([await reimage(member), await reimage(stranger)]).toEqual(['ImageNotFound', 'VolumeNotFound']);
    const eventsOf = async ({ projectId }: CloudProject) =>
      (await (await cache.inventory()).listEvents({ projectId, volumeId })).map(({ kind }) => kind);
    expect(await eventsOf(member)).toEqual(
      expect.arrayContaining(['volume.created', 'snapshot.created', 'volume.uploaded']),
    );
    expect(await eventsOf(stranger)).toEqual([]);
    const { quotas } = await getQuotas(cache, member.projectId);
    expect(quotas.snapshots).toMatchObject({ used: 2 });
    await deleteVolume(cache, volumeId, { projectId: member.projectId, cascade: true });
    await expectCleanSlate(flow.stack);
  });

  it('may be given an image of a volume by an operator, for everybody to see', async () => {
    const { cache } = flow.stack;
    const { projectId } = userOf('owner');
    const { volumeId } = await makeBlank(projectId);
    const ofStranger = asUserOf(userOf('stranger'));
    for (const visibility of ['public', 'community'] as const) {
      const { imageId } = await uploadVolume(cache, { volumeId, visibility }, { wait: true });
      expect(await ofStranger.getImage(imageId)).toMatchObject({ owner: projectId, visibility, status: 'active' });
    }
    await ofStranger.close();
    expect(await told(uploadVolume(cache, { volumeId, projectId, visibility: 'public' }, { wait: true }))).toBe(
      'InvalidRequest',
    );
  });

  describe('the account of the installation, by the policy that is shipped', () => {
    const there = () => cells.filter(({ state }) => state !== 'deleted');
    const shared = () => there().filter(({ visibility }) => visibility === 'shared');

    it('reads records, data and members of every image', async () => {
      const images = asUserOf(service);
      const records = await Promise.all(there().map(({ image }) => images.getImage(image.id)));
      expect(records.map(({ id }) => id)).toEqual(there().map(({ image }) => image.id));
      for (const { image } of shared()) expect(await images.listMembers(image.id)).toHaveLength(answers.length);
      const expectedBytes = readFileSync(sample.path).length;
      for (const { image } of there().filter(({ state }) => state === 'active')) {
        const { body } = await images.openDownload({ imageId: image.id, offsetBytes: 0, expectedBytes });
        let bytes = 0;
        for await (const chunk of body) bytes += chunk.length;
        expect(bytes).toBe(expectedBytes);
      }
      await images.close();
    });

    it('makes an image for another project, fills it once, and removes it no more then', async () => {
      const images = asUserOf(service);
      const owner = userOf('owner').projectId;
      const ofVolume = { diskFormat: 'raw', containerFormat: 'bare', visibility: 'private', owner };
      const made = await images.createImage({ ...ofVolume, properties: { ivc_made_by: 'image-volume-cache' } });
      expect(made).toMatchObject({ owner, status: 'queued' });
      await images.uploadImage({ imageId: made.id, body: someBytes() });
      expect(await images.getImage(made.id)).toMatchObject({ status: 'active' });
      const refused = { type: 'InvalidRequest' };
      await expect(images.uploadImage({ imageId: made.id, body: someBytes() })).rejects.toMatchObject(refused);
      await expect(images.deleteImage(made.id)).rejects.toMatchObject(refused);
      expect(await edit(made, { name: 'taken' }, service)).toBe(403);
      const unfilled = await images.createImage({ ...ofVolume, properties: { ivc_made_by: 'image-volume-cache' } });
      await images.deleteImage(unfilled.id);
      await expect(images.getImage(unfilled.id)).rejects.toMatchObject({ type: 'ImageNotFound' });
      // Nothing that others have made, and nothing for everybody.
      const unmarked = await images.createImage(ofVolume);
      await expect(images.uploadImage({ imageId: unmarked.id, body: someBytes() })).rejects.toMatchObject(refused);
      await expect(images.deleteImage(unmarked.id)).rejects.toMatchObject(refused);
      await expect(images.createImage({ ...ofVolume, visibility: 'public' })).rejects.toMatchObject(refused);
      await images.close();
    });

    it('uploads a volume as an image of its project', async () => {
      const { image } = await flow.upload('to-upload', { virtualBytes: MiB, dataBytes: MiB });
      await edit(image, { visibility: 'community' });
      const [owner, stranger] = [userOf('owner'), userOf('stranger')];
      const [ofOwner, ofStranger] = [asUserOf(owner), asUserOf(stranger)];
      const volume = await createFor(image, owner);
      const request = { volumeId: volume.volumeId, projectId: owner.projectId };
      const { imageId } = await uploadVolume(flow.stack.cache, request, { wait: true });
      const made = await ofOwner.getImage(imageId);
      expect(made).toMatchObject({ owner: owner.projectId, status: 'active' });
      await expect(ofStranger.getImage(imageId)).rejects.toMatchObject({ type: 'ImageNotFound' });
      expect(await createFor(made, owner)).toMatchObject({ outcome: 'miss' });
      const foreign = { ...request, projectId: stranger.projectId };
      await expect(uploadVolume(flow.stack.cache, foreign, { wait: true })).rejects.toMatchObject({
        type: 'VolumeNotFound',
      });
      await Promise.all([ofOwner.close(), ofStranger.close()]);
      await expectCleanSlate(flow.stack);
    });

    it('shares a snapshot of a project with others, and takes it from them again', async () => {
      const { image } = await flow.upload('to-share', { virtualBytes: MiB, dataBytes: MiB });
      await edit(image, { visibility: 'community' });
      const [owner, other, stranger] = [userOf('owner'), userOf('pending'), userOf('stranger')];
      const { cache } = flow.stack;
      const { volumeId } = await createFor(image, owner);
      const { projectId } = owner;
      const taken = await createSnapshot(cache, { volumeId, projectId }, { wait: true });
      const { snapshotId } = taken.result;
      const request = { snapshotId, projectId, members: [other.projectId] };
      const { imageId } = (await shareSnapshot(cache, request, { wait: true })).result;
      const ofOwner = asUserOf(owner);
      const made = await ofOwner.getImage(imageId);
      expect(made).toMatchObject({ owner: projectId, visibility: 'shared', status: 'active' });
      expect(await createFor(made, other)).toMatchObject({ outcome: 'miss' });
      await expect(createFor(made, stranger)).rejects.toMatchObject({ type: 'ImageNotFound' });
      await shareSnapshot(cache, { snapshotId, projectId, visibility: 'community' }, { wait: true });
      expect(await createFor(made, stranger)).toMatchObject({ outcome: 'hit' });
      const ended = await unshareSnapshot(cache, { snapshotId, projectId }, { wait: true });
      expect(ended.result).toMatchObject({ outcome: 'deleted' });
      await expect(ofOwner.getImage(imageId)).rejects.toMatchObject({ type: 'ImageNotFound' });
      await ofOwner.close();
    });

    it('changes no image and no member', async () => {
      const images = asUserOf(service);
      const members = createImageMembers(cloud.glance.endpoint, await headersOf(service));
      const refused = { type: 'InvalidRequest' };
      for (const { image } of there()) {
        expect(await edit(image, { name: 'taken' }, service)).toBe(403);
        expect(await edit(image, { visibility: 'community' }, service)).toBe(403);
        expect(await edit(image, { os_hidden: true }, service)).toBe(403);
        await expect(images.deleteImage(image.id)).rejects.toMatchObject(refused);
        await expect(images.addTag(image.id, 'mine')).rejects.toMatchObject(refused);
        await expect(images.deactivate(image.id)).rejects.toMatchObject(refused);
        await expect(images.reactivate(image.id)).rejects.toMatchObject(refused);
      }
      for (const { image } of there().filter(({ state }) => state === 'queued'))
        await expect(images.uploadImage({ imageId: image.id, body: someBytes() })).rejects.toMatchObject(refused);
      for (const { image } of shared()) {
        expect((await members.add(image.id, service.projectId)).status).toBe(403);
        expect((await members.remove(image.id, userOf('accepted').projectId)).status).toBe(403);
        expect((await members.answer(image.id, userOf('pending').projectId, 'accepted')).status).toBe(403);
      }
      await images.close();
    });

    it('is followed to public images alone, where nobody says whose', async () => {
      const name = 'followed';
      const meant = await uploadSample(flow.stack.images, sample, { name, visibility: 'public' });
      for (const visibility of ['private', 'shared', 'community'])
        await uploadSample(flow.stack.images, sample, { name, visibility });
      expect(await refreshFlows(flow).follow({ imageName: name })).toMatchObject({ imageId: meant.id });
    });
  });

  describe('doctor', () => {
    const rightsOf = async ({ password }: CloudProject, name: string) => {
      const environment = { ...flow.stack.environment, OS_AUTH_URL: cloud.keystone.url, OS_PASSWORD: password };
      const account = { OS_USERNAME: name, OS_PROJECT_NAME: name, OS_REGION_NAME: 'RegionOne' };
      const { document } = await readIvc(['doctor'], { ...environment, ...account });
      const { findings } = document as { findings: { check: string; state: string }[] };
      return findings.find(({ check }) => check === 'rights to images');
    };

    it('finds the role of the policy right', async () => {
      expect(await rightsOf(service, 'cache')).toMatchObject({ state: 'ok' });
    });

    it('says that an administrator is too much', async () => {
      expect(await rightsOf(administrator, 'operators')).toMatchObject({ state: 'warning' });
    });

    it('says that a member is too little', async () => {
      expect(await rightsOf(userOf('stranger'), 'stranger')).toMatchObject({ state: 'warning' });
    });
  });
});
