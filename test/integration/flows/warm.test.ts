import { listEvents } from '../../../db/events';
import { randomUUID } from 'node:crypto';
import { warmCache } from '../../../client/refresh';
import type { WarmInput, WarmResult } from '../../../workflows/contract/refresh';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { refreshFlows } from '../../support/stack/refresh';

const flow = useStack({ config: { createSafetyInterval: '3s' } });
const { publish, makeSample, downloadsOf, entry } = refreshFlows(flow);

const warm = async (input: WarmInput): Promise<WarmResult> =>
  (await warmCache(flow.stack.cache, { backends: [flow.stack.backend], ...input }, { wait: true })).result;

describe('warming', () => {
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('populates what is cold, takes what is ready, and tells of each pair; the create after it is a hit', async () => {
    const [cold, ready] = [await publish(), await publish()];
    await flow.create(ready);
    const { warmed, summary } = await warm({ imageIds: [cold.id, ready.id, cold.id] });
    expect(warmed).toHaveLength(2);
    expect(warmed.find(({ imageId }) => imageId === cold.id)).toMatchObject({
      outcome: 'populated',
      bytesDownloaded: cold.sizeBytes,
    });
    expect(warmed.find(({ imageId }) => imageId === ready.id)).toMatchObject({ outcome: 'ready', bytesDownloaded: 0 });
    expect(summary).toBe('1 populated, 1 cached already, 0 not cached, 0 failed');
    expect(await flow.create(cold)).toMatchObject({ outcome: 'hit' });
    expect(await downloadsOf(cold)).toBe(1);
    expect(await flow.flightOf(cold)).toMatchObject({ leaderVolumeId: null });
  });

  it('pins what it has warmed when it is asked to', async () => {
    const image = await publish();
    const { warmed } = await warm({ imageIds: [image.id], pin: true, by: 'an operator' });
    expect(await entry(warmed[0]?.entryId ?? null)).toMatchObject({ pinned: true, pinnedBy: 'an operator' });
    const { backend, database } = flow.stack;
    const query = { scope: 'all projects', imageId: image.id, kind: 'warm', limit: 9 } as const;
    expect(await listEvents(database, query)).toMatchObject([
      {
        kind: 'warm.requested',
        object: `${backend}/${image.id}`,
        requestedBy: 'an operator',
        backend,
        detail: { pin: true },
      },
    ]);
  });

  it('and creates of the same image share one flight, whoever comes first', async () => {
    const [warmedFirst, createdFirst] = [await publish(), await publish()];
    for (const { id } of [warmedFirst, createdFirst])
      await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: id, times: 1_000_000 });

    const first = await flow.start(createdFirst);
    await flow.untilWaiting(first.volumeId);
    const warming = warm({ imageIds: [warmedFirst.id, createdFirst.id] });
    await flow.until('the flight of warming', async () => await flow.flightOf(warmedFirst));
    const second = await flow.start(warmedFirst);
    await flow.untilWaiting(second.volumeId);
    await flow.stack.imageService.clearFaults();

    expect(await second.result()).toMatchObject({ outcome: 'joined', bytesDownloaded: 0 });
    expect(await first.result()).toMatchObject({ outcome: 'miss', bytesDownloaded: createdFirst.sizeBytes });
    expect((await warming).warmed.map(({ outcome }) => outcome)).toEqual(['populated', 'populated']);
    for (const image of [warmedFirst, createdFirst]) expect(await flow.flightOf(image)).toMatchObject({ flight: 1 });
  });

  it('sixteen times at once is one download', async () => {
    const image = await publish();
    const results = await Promise.all(Array.from({ length: 16 }, () => warm({ imageIds: [image.id] })));
    expect(new Set(results.flatMap(({ warmed }) => warmed.map(({ entryId }) => entryId))).size).toBe(1);
    expect(await downloadsOf(image)).toBe(1);
  });

  it('goes on with the others when one fails, and says why it failed', async () => {
    const image = await publish();
    // No stream of any kind that is known, as is seen when all bytes are there: such a refusal is remembered.
    const refused = await publish({ containerFormat: 'compressed' });
    const absent = randomUUID();
    const { warmed } = await warm({ imageIds: [absent, refused.id, image.id] });
    const found = new Map(warmed.map((one) => [one.imageId, one]));
    expect(found.get(absent)).toMatchObject({ outcome: 'failed', entryId: null });
    expect(found.get(absent)?.summary).toContain(`there is no image ${absent}`);
    expect(found.get(refused.id)).toMatchObject({ outcome: 'failed', entryId: null });
    expect(found.get(image.id)).toMatchObject({ outcome: 'populated' });

    const again = await warm({ imageIds: [refused.id] });
    expect(again.warmed).toMatchObject([{ outcome: 'failed' }]);
    expect(await downloadsOf(refused)).toBe(1);
  });

  it('of two images with the same bytes is one entry that serves both', async () => {
    const sample = await makeSample();
    const [one, two] = [await publish({}, sample), await publish({}, sample)];
    const { warmed } = await warm({ imageIds: [one.id, two.id] });
    expect(new Set(warmed.map(({ entryId }) => entryId)).size).toBe(1);
    const served = await flow.stack.database.sql<{ image_id: string }[]>`
      select image_id from entry_images where entry_id = ${warmed[0]?.entryId ?? ''}`;
    expect(served.map((row) => row.image_id).sort()).toEqual([one.id, two.id].sort());
  });

  it('starts a flight again that an operator has terminated', async () => {
    const image = await publish();
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const warming = warm({ imageIds: [image.id] });
    await flow.until('the flight to be claimed', async () => (await flow.flightOf(image))?.runId ?? false);
    await flow.flightHandle(image).terminate('by an operator');
    await flow.stack.imageService.clearFaults();
    expect((await warming).warmed).toMatchObject([{ outcome: 'populated' }]);
  });

  it('refuses a backend that there is not, and names those that there are', async () => {
    const { cache, backend } = flow.stack;
    await expect(warmCache(cache, { imageIds: [randomUUID()], backends: ['nowhere'] }, {})).rejects.toMatchObject({
      type: 'BackendNotFound',
      exitCode: 3,
      details: { backend: '"nowhere"', known: expect.stringContaining(backend) },
    });
  });

  it.each<[string, unknown, { field: string; value: string }]>([
    ['nothing', null, { field: 'input', value: 'null' }],
    ['no image', { imageIds: [] }, { field: 'imageIds', value: '[]' }],
    ['what is no image id', { imageIds: ['x'] }, { field: 'imageIds.0', value: '"x"' }],
    [
      'all and some',
      { imageIds: [randomUUID()], backends: ['x'], allBackends: true },
      { field: 'allBackends', value: 'true' },
    ],
    ['an unknown field', { imageIds: [randomUUID()], image: 1 }, { field: 'image', value: '1' }],
  ])('refuses %s, and names the field and its value', async (_what, input, details) => {
    const { client, cache } = flow.stack;
    const run = client.workflow.execute('WarmImageCache', {
      workflowId: `warm/${randomUUID()}`,
      taskQueue: cache.queues.control,
      args: [input],
    });
    await expect(run).rejects.toMatchObject({
      cause: { type: 'InvalidRequest', details: [{ ...details, allowed: expect.any(String) }] },
    });
  });
});
