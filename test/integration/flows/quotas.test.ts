import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import {
  createSnapshot,
  createVolume,
  createVolumes,
  deleteSnapshot,
  deleteVolume,
  getQuotas,
  listQuotas,
  setQuotas,
} from '../../../client';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import { workflowTypes } from '../../../workflows/contract/names';
import type { SetQuotasInput } from '../../../workflows/contract/quotas';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { useStack, type UploadedImage } from '../../support/stack/flows';
import { readIvc, runIvc } from '../../support/stack/ivc';

const LARGEST_BYTES = 64 * MiB;
const flow = useStack({ config: { quotas: { volumeBytes: '64MiB' } } });
const ivc = (...args: string[]) => readIvc(args, flow.stack.environment);

let uploaded: UploadedImage;
beforeAll(async () => {
  uploaded = await flow.upload('limited');
});

/** A project of its own, with these quotas. */
async function projectWith(quotas: SetQuotasInput['quotas']): Promise<string> {
  const projectId = randomUUID();
  await setQuotas(flow.stack.cache, { projectId, quotas });
  return projectId;
}

const create = (projectId: string, more: { sizeBytes?: number; volumeId?: string } = {}) =>
  createVolume(flow.stack.cache, { imageId: uploaded.image.id, backend: flow.stack.backend, projectId, ...more });

it('quotas of one project that are set at once all hold', async () => {
  const projectId = randomUUID();
  const set = async (quotas: SetQuotasInput['quotas']) => await setQuotas(flow.stack.cache, { projectId, quotas });
  await Promise.all([set({ volumes: 3 }), set({ snapshots: 4 }), set({ bytes: 5 * GiB })]);
  expect(await getQuotas(flow.stack.cache, projectId)).toMatchObject({
    quotas: { volumes: { limit: 3 }, snapshots: { limit: 4 }, bytes: { limit: 5 * GiB } },
  });
});

describe('a create beyond a quota', () => {
  it('is refused with its numbers and leaves one decision and no row', async () => {
    const projectId = await projectWith({ volumes: 1 });
    const { volumeId } = await create(projectId);
    const refused = { projectId, quota: 'volumes', limit: 1, used: 1, asked: 1 };
    const another = randomUUID();
    await expect(create(projectId, { volumeId: another })).rejects.toMatchObject({
      type: 'QuotaExceeded',
      exitCode: 1,
      details: refused,
    });
    expect(await flow.volume(another)).toBeUndefined();
    expect(await flow.stack.inventory.decisions(another)).toMatchObject([
      { outcome: 'refused', errorType: 'QuotaExceeded' },
    ]);
    expect(await create(projectId, { volumeId })).toMatchObject({ volumeId });

    await deleteVolume(flow.stack.cache, volumeId, { projectId });
    expect(await create(projectId, { volumeId: another })).toMatchObject({ outcome: 'hit' });
  });

  it('is refused for a snapshot too, which leaves nothing; a copy of a volume needs none', async () => {
    const projectId = await projectWith({ snapshots: 1 });
    const { volumeId } = await create(projectId);
    const { cache } = flow.stack;
    const { result: taken } = await createSnapshot(cache, { volumeId, projectId }, {});
    await expect(createSnapshot(cache, { volumeId, projectId }, {})).rejects.toMatchObject({
      type: 'QuotaExceeded',
      details: { projectId, quota: 'snapshots', limit: 1, used: 1, asked: 1 },
    });
    const copy = await createVolume(cache, { sourceVolumeId: volumeId, projectId });
    expect(copy).toMatchObject({ outcome: 'copied' });
    const bytes = 3 * uploaded.sample.virtualBytes;
    expect(await getQuotas(cache, projectId)).toMatchObject({
      quotas: { snapshots: { used: 1 }, volumes: { used: 2 }, bytes: { used: bytes } },
    });
    expect(await flow.entriesOf(uploaded.image)).toMatchObject([{ state: 'ready' }]);
    await setQuotas(cache, { projectId, quotas: { snapshots: null, bytes } });
    await expect(createSnapshot(cache, { volumeId, projectId }, {})).rejects.toMatchObject({
      type: 'QuotaExceeded',
      details: { quota: 'bytes', limit: bytes, used: bytes },
    });
    await deleteSnapshot(cache, taken.snapshotId, { projectId });
    expect(await createSnapshot(cache, { volumeId, projectId }, {})).toMatchObject({ result: { volumeId } });
  });

  it('is refused for a volume that is larger than each may be, as it is configured', async () => {
    const projectId = randomUUID();
    await expect(create(projectId, { sizeBytes: LARGEST_BYTES + MiB })).rejects.toMatchObject({
      type: 'QuotaExceeded',
      details: { quota: 'volumeBytes', limit: LARGEST_BYTES, asked: LARGEST_BYTES + MiB },
    });
    await setQuotas(flow.stack.cache, { projectId, quotas: { volumeBytes: null } });
    expect(await create(projectId, { sizeBytes: LARGEST_BYTES + MiB })).toMatchObject({ outcome: 'hit' });
  });

  it('is one of sixteen at once that are too many', async () => {
    const projectId = await projectWith({ bytes: 3 * LARGEST_BYTES });
    const answers = await Promise.allSettled(
      Array.from({ length: 16 }, () => create(projectId, { sizeBytes: LARGEST_BYTES })),
    );
    const refusals = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as object] : []));
    expect(refusals).toEqual(Array.from({ length: 13 }, () => expect.objectContaining({ type: 'QuotaExceeded' })));
    expect((await getQuotas(flow.stack.cache, projectId)).quotas).toMatchObject({
      volumes: { limit: null, used: 3 },
      bytes: { limit: 3 * LARGEST_BYTES, used: 3 * LARGEST_BYTES },
    });
  });

  it('is refused as a whole for many volumes', async () => {
    const projectId = await projectWith({ volumes: 2 });
    const { stack } = flow;
    const many = (count: number) =>
      createVolumes(stack.cache, { imageId: uploaded.image.id, backend: stack.backend, projectId, count }, {});
    await expect(many(3)).rejects.toMatchObject({ type: 'QuotaExceeded', details: { used: 0, asked: 3 } });
    expect((await getQuotas(stack.cache, projectId)).quotas.volumes).toMatchObject({ used: 0 });
    expect((await many(2)).result.volumes).toHaveLength(2);
  });
});

describe('of an image whose record has no virtual size', () => {
  let imageId: string;
  beforeAll(async () => {
    const sample = await makeSampleImage({ directory: flow.directory, name: 'unmeasured', diskFormat: 'raw' });
    const path = `${sample.path}.gz`;
    await writeFile(path, gzipSync(await readFile(sample.path)));
    const image = await uploadSample(flow.stack.images, { ...sample, path }, { containerFormat: 'compressed' });
    imageId = image.id;
  });

  it.each([
    ['a miss', {}],
    ['a hit', {}],
    ['a bypass', { bypassCache: true }],
  ])('%s is counted before the volume is made', async (_, how) => {
    const { stack } = flow;
    expect(await stack.images.getImage(imageId)).toMatchObject({ virtualSizeBytes: null });
    const projectId = await projectWith({ bytes: 20 * MiB });
    const request = { imageId, backend: stack.backend, projectId, ...how };
    const { sizeBytes } = await createVolume(stack.cache, request);
    expect(sizeBytes).toBe(16 * MiB);
    const volumeId = randomUUID();
    await expect(createVolume(stack.cache, { ...request, volumeId })).rejects.toMatchObject({
      type: 'QuotaExceeded',
      details: { quota: 'bytes', limit: 20 * MiB, used: 16 * MiB, asked: 16 * MiB },
    });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'error', errorType: 'QuotaExceeded' });
    const { quotas } = await getQuotas(stack.cache, projectId);
    expect(quotas).toMatchObject({ volumes: { used: 1 }, bytes: { used: 16 * MiB } });
  });

  it('many volumes of one request are made as far as they fit', async () => {
    const { stack } = flow;
    const projectId = await projectWith({ bytes: 40 * MiB });
    const request = { imageId, backend: stack.backend, projectId, count: 3 };
    const { result } = await createVolumes(stack.cache, request, {});
    expect([result.volumes.length, result.failed]).toMatchObject([2, [{ failure: { type: 'QuotaExceeded' } }]]);
  });
});

describe('SetQuotas', () => {
  it('holds for what comes, and may be repeated', async () => {
    const projectId = await projectWith({ volumes: 5 });
    await create(projectId);
    for (let time = 0; time < 2; time += 1)
      expect(await setQuotas(flow.stack.cache, { projectId, quotas: { volumes: 0 }, by: 'root' })).toEqual({
        projectId,
        set: { volumes: 0 },
      });
    await expect(create(projectId)).rejects.toMatchObject({ details: { limit: 0, used: 1 } });
    const found = (await listQuotas(flow.stack.cache)).find((project) => project.projectId === projectId);
    expect(found?.quotas.volumes).toMatchObject({ limit: 0, used: 1, setBy: 'root', setAt: expect.any(String) });
  });

  it.each([
    ['quotas', { projectId: 'p', quotas: {} }],
    ['quotas.volumes', { projectId: 'p', quotas: { volumes: -1 } }],
    ['quotas.bytes', { projectId: 'p', quotas: { bytes: 'much' } }],
    ['quotas.disks', { projectId: 'p', quotas: { disks: 1 } }],
    ['projectId', { projectId: '', quotas: { volumes: 1 } }],
  ])('refuses what is wrong with %s', async (field, input) => {
    const { client, cache } = flow.stack;
    const run = client.workflow.execute(workflowTypes.setQuotas, {
      workflowId: cache.queues.ids.quotas('p', randomUUID()),
      taskQueue: cache.queues.control,
      args: [input],
    });
    await expect(run).rejects.toMatchObject({
      cause: { cause: { type: 'InvalidRequest', details: [expect.objectContaining({ field })] } },
    });
  });
});

describe('ivc quota', () => {
  it('sets, shows and lists', async () => {
    const projectId = randomUUID();
    await create(projectId);
    const limits = ['--volumes', '3', '--bytes', '2GiB', '--volume-bytes', 'unlimited', '--snapshots', '4'];
    const { document } = await ivc('quota', 'set', '--project', projectId, ...limits);
    expect(document).toMatchObject({
      projectId,
      quotas: {
        volumes: { limit: 3, used: 1, setBy: expect.any(String) },
        snapshots: { limit: 4, used: 0 },
        bytes: { limit: 2 * GiB, used: uploaded.sample.virtualBytes },
        volumeBytes: { limit: null, used: null, setBy: expect.any(String) },
      },
    });
    expect((await ivc('quota', 'show', '--project', projectId)).document).toEqual(document);
    const { projects, next } = (await ivc('quota', 'list')).document as { projects: unknown[]; next: unknown };
    expect(projects).toContainEqual(document);
    expect(next).toBeNull();
    expect((await ivc('quota', 'list', '--limit', '1')).document['next']).toEqual(expect.any(String));
    const { stdout } = await runIvc(['quota', 'show', '--project', projectId], flow.stack.environment);
    expect(stdout).toMatch(/^volumes +3 +1 /m);

    const event = { kind: 'quotas.set', object: projectId, projectId, detail: { volumes: 3, volumeBytes: null } };
    expect((await ivc('events', '--project', projectId, '--kind', 'quotas')).document['events']).toMatchObject([event]);

    const taken = await ivc(
      'quota',
      'set',
      '--project',
      projectId,
      '--volumes',
      'default',
      '--volume-bytes',
      'default',
    );
    expect(taken.document['quotas']).toMatchObject({
      volumes: { limit: null, setBy: null },
      volumeBytes: { limit: LARGEST_BYTES, setBy: null },
    });
  });

  it.each([[['--volumes', 'many']], [['--bytes', '-1']], [[]]])('refuses %j as usage', async (limits) => {
    expect(await ivc('quota', 'set', '--project', 'p', ...limits)).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'Usage' } },
    });
  });
});

describe('the internal tenant', () => {
  it('owns the image-volumes, which an operator sees, and no volume', async () => {
    const [entry] = await flow.entriesOf(uploaded.image);
    const { document } = await ivc('volume', 'list', '--all');
    const shown = { entryId: entry?.id, name: entry?.imageVolume, projectId: 'image-volume-cache', state: 'ready' };
    expect(document['imageVolumes']).toContainEqual(expect.objectContaining(shown));
    expect((await ivc('volume', 'list', '--all-projects')).document).not.toHaveProperty('imageVolumes');
    expect(await ivc('volume', 'show', entry?.id ?? '', '--all-projects')).toMatchObject({ exitCode: 3 });
    const { stdout } = await runIvc(['volume', 'list', '--all'], flow.stack.environment);
    expect(stdout).toMatch(new RegExp(`^${entry?.id.slice(0, 8)} .* image-volume-cache `, 'm'));
    await expect(create('image-volume-cache')).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'projectId' },
    });
    expect(await ivc('volume', 'list', '--all', '--project', 'p')).toMatchObject({ exitCode: 2 });
  });
});
