import { randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { createVolume, createVolumes, deleteVolume, type CreateVolumesRequest } from '../../../client/volumes';
import { updateLimits } from '../../../db/backends';
import { fileSystemSpace } from '../../../lib/files';
import { MiB } from '../../../workflows/contract/bytes';
import type { Image } from '../../../workflows/contract/image';
import type { CreateVolumesResult } from '../../../workflows/contract/volume';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { runIvc } from '../../support/stack/ivc';
import { readCounter } from '../../support/stack/metrics';

const MANY = 500;
const FEW = 12;
/** Of all statements of a bulk create, its own and those that complete its chunks. */
const MOST_STATEMENTS = 40;
const MOST_EVENTS = 40;
/** As the configuration has it where it says nothing. */
const OVER_SUBSCRIPTION = 20;

const flow = useStack();

async function createMany(image: Image, input: Omit<CreateVolumesRequest, 'imageId'>): Promise<CreateVolumesResult> {
  const { cache, backend } = flow.stack;
  const { result } = await createVolumes(cache, { imageId: image.id, backend, ...input }, {});
  return result;
}

function statements(): Promise<number> {
  return readCounter(flow.stack.workers.at(-1)?.metricsUrl ?? '', 'ivc_sql_statements_total');
}

async function eventsOf(requestId: string): Promise<number> {
  const { cache, client } = flow.stack;
  return (await client.workflow.getHandle(cache.queues.ids.createVolumes(requestId)).describe()).historyLength;
}

function newIds(count: number): string[] {
  return Array.from({ length: count }, () => randomUUID());
}

/** Puts a file in a volume's way: it is not ours, so it is left alone and the volume fails. */
function obstruct(volumeId: string): string {
  const path = join(flow.stack.volumesDirectory, 'volumes', `${volumeId}.raw`);
  writeFileSync(path, 'not ours');
  return path;
}

async function countRows(): Promise<number> {
  const [row] = await flow.stack.database.sql<{ volumes: number }[]>`select count(*)::int as volumes from volumes`;
  return row?.volumes ?? 0;
}

async function statesOf(volumeIds: readonly string[]): Promise<(string | undefined)[]> {
  return await Promise.all(volumeIds.map(async (volumeId) => (await flow.volume(volumeId))?.state));
}

/** A run whose volumes all wait for the population of an image that does not come. */
async function startWaiting(name: string): Promise<{ volumeIds: string[]; handle: WorkflowHandle }> {
  const { image } = await flow.upload(name);
  await flow.stack.imageService.inject({ kind: 'stall', imageId: image.id, afterBytes: 1 });
  const volumeIds = newIds(FEW);
  const { cache, backend, client } = flow.stack;
  const run = await createVolumes(cache, { imageId: image.id, backend, volumeIds }, { wait: false });
  for (const volumeId of volumeIds) await flow.untilWaiting(volumeId);
  return { volumeIds, handle: client.workflow.getHandle(run.workflowId) };
}

describe('many volumes of one request', () => {
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
  });

  it(`are clones of one parent, ${MANY} for few events and statements, each with its own row and decision`, async () => {
    const { sample, image } = await flow.upload('many', { virtualBytes: 2 * MiB });
    await flow.create(image);
    const requestId = randomUUID();
    const before = await statements();
    const result = await createMany(image, { requestId, count: MANY, name: 'web' });
    expect((await statements()) - before).toBeLessThanOrEqual(MOST_STATEMENTS);
    expect(await eventsOf(requestId)).toBeLessThanOrEqual(MOST_EVENTS);

    expect(result).toMatchObject({ failed: [], bytesDownloaded: 0 });
    expect(result.volumes.map(({ name }) => name)).toEqual(Array.from({ length: MANY }, (_, n) => `web-${n + 1}`));
    expect(new Set(result.volumes.map(({ volumeId }) => volumeId)).size).toBe(MANY);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: MANY + 1, uses: MANY + 1 }]);
    const decisions = (await flow.stack.inventory.decisions()).filter(({ imageId }) => imageId === image.id);
    expect(decisions.filter(({ outcome }) => outcome === 'hit')).toHaveLength(MANY);
    expect(new Set(decisions.map(({ volumeId }) => volumeId)).size).toBe(MANY + 1);
    for (const volume of [result.volumes[0], result.volumes.at(-1)])
      if (volume) await flow.expectGuestBytes(sample, volume);
    await expectCleanSlate(flow.stack);
  });

  it('of a cold image populate the cache once', async () => {
    const { sample, image } = await flow.upload('cold', { virtualBytes: 2 * MiB });
    const requestId = randomUUID();
    const { volumes, summary, bytesDownloaded } = await createMany(image, { requestId, count: MANY });
    expect(summary).toBe(`${MANY} of ${MANY} volumes available: ${MANY - 1} joined, 1 miss`);
    expect(bytesDownloaded).toBe(image.sizeBytes);
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({ downloads: 1 });
    expect(await flow.flightOf(image)).toMatchObject({ flight: 1 });
    expect(await flow.entriesOf(image)).toMatchObject([{ generation: 1, clones: MANY }]);
    expect(await eventsOf(requestId)).toBeLessThanOrEqual(MOST_EVENTS);
    if (volumes[0]) await flow.expectGuestBytes(sample, volumes[0]);
  });

  it('are the same volumes when the request is sent again, by its id or by theirs', async () => {
    const { image } = await flow.upload('again');
    const requestId = randomUUID();
    const first = await createMany(image, { requestId, count: FEW });
    const again = await createMany(image, { requestId, count: FEW });
    expect(again.volumes).toEqual(first.volumes);
    const volumeIds = first.volumes.map(({ volumeId }) => volumeId);
    expect((await createMany(image, { volumeIds })).volumes).toEqual(first.volumes);
    const [one] = first.volumes;
    expect(await flow.create(image, { volumeId: one?.volumeId })).toMatchObject({ connection: one?.connection });
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: FEW }]);
  });

  it('that cannot all be made are kept, and those that failed are told and can be tried again', async () => {
    const { image } = await flow.upload('partly');
    await flow.create(image);
    const volumeIds = newIds(FEW);
    const failing = [volumeIds[3] ?? '', volumeIds[7] ?? ''];
    failing.forEach(obstruct);
    const result = await createMany(image, { volumeIds });
    expect(result.failed.map(({ volumeId }) => volumeId).sort()).toEqual([...failing].sort());
    expect(result.failed[0]?.failure.type).toBe('ForeignObject');
    expect(result.volumes.map(({ volumeId }) => volumeId)).toEqual(volumeIds.filter((id) => !failing.includes(id)));
    expect(await statesOf(failing)).toEqual(['error', 'error']);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 1 + FEW - failing.length }]);
  });

  it('that cannot all be made are none with onFailure undo', async () => {
    const { image } = await flow.upload('none');
    await flow.create(image);
    const volumeIds = newIds(FEW);
    obstruct(volumeIds[5] ?? '');
    await expect(createMany(image, { volumeIds, onFailure: 'undo' })).rejects.toMatchObject({ type: 'ForeignObject' });
    expect(new Set(await statesOf(volumeIds))).toEqual(new Set(['error']));
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 1 }]);
    const files = volumeIds.filter((id) => existsSync(join(flow.stack.volumesDirectory, 'volumes', `${id}.qcow2`)));
    expect(files).toEqual([]);
  });

  it('with onFailure undo are all made where none fails', async () => {
    const { image } = await flow.upload('all');
    const { volumes } = await createMany(image, { count: FEW, onFailure: 'undo' });
    expect(volumes).toHaveLength(FEW);
  });

  it('are undone when the run is cancelled while it waits, and the run ends cancelled', async () => {
    const { volumeIds, handle } = await startWaiting('cancelled');
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    expect(new Set(await statesOf(volumeIds))).toEqual(new Set(['deleted']));
  });

  it('go on without the one that is deleted meanwhile', async () => {
    const { volumeIds, handle } = await startWaiting('deleted');
    const deleting = deleteVolume(flow.stack.cache, volumeIds[0] ?? '');
    await flow.until('the delete to begin', async () => (await statesOf(volumeIds))[0] === 'deleting');
    await flow.stack.imageService.clearFaults();
    const result = (await handle.result()) as CreateVolumesResult;
    expect(result.failed).toMatchObject([{ volumeId: volumeIds[0], failure: { type: 'CreateCancelled' } }]);
    expect(result.volumes).toHaveLength(FEW - 1);
    expect(await deleting).toMatchObject({ outcome: 'deleted' });
  });

  it('end with their run when all of them are deleted while it waits', async () => {
    const { volumeIds, handle } = await startWaiting('all-deleted');
    const deleted = await Promise.all(
      volumeIds.map(async (volumeId) => await deleteVolume(flow.stack.cache, volumeId)),
    );
    expect(new Set(deleted.map(({ outcome }) => outcome))).toEqual(new Set(['deleted']));
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    expect(new Set(await statesOf(volumeIds))).toEqual(new Set(['deleted']));
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('leave nothing when all of them are deleted while they are made', async () => {
    const { image } = await flow.upload('deleted-in-making');
    await flow.create(image);
    const volumeIds = newIds(FEW * 5);
    const { cache, backend, client } = flow.stack;
    const run = await createVolumes(cache, { imageId: image.id, backend, volumeIds }, { wait: false });
    await flow.until('the rows to be there', async () => (await statesOf(volumeIds.slice(-1)))[0] !== undefined);
    const deleted = await Promise.all(
      volumeIds.map(async (volumeId) => await deleteVolume(flow.stack.cache, volumeId)),
    );
    expect(new Set(deleted.map(({ outcome }) => outcome))).toEqual(new Set(['deleted']));
    // The run tells of the volumes that were made before their deletes came.
    await Promise.allSettled([client.workflow.getHandle(run.workflowId).result()]);
    expect(new Set(await statesOf(volumeIds))).toEqual(new Set(['deleted']));
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 1 }]);
    await expectCleanSlate(flow.stack);
  });

  it('may together grow to no more than their backend may promise, those that are there already not counted again', async () => {
    const { image } = await flow.upload('promised');
    await flow.create(image);
    const { cache, volumesDirectory } = flow.stack;
    const mostBytes = OVER_SUBSCRIPTION * (await fileSystemSpace(volumesDirectory)).totalBytes;
    const sizeBytes = Math.floor(mostBytes / 5 / MiB) * MiB;
    const made = newIds(3);
    const before = await countRows();
    await expect(createMany(image, { volumeIds: newIds(6), sizeBytes })).rejects.toMatchObject({
      type: 'NoSpace',
      details: { neededBytes: 6 * sizeBytes, mostBytes },
    });
    expect(await countRows()).toBe(before);
    try {
      expect((await createMany(image, { volumeIds: made, sizeBytes })).volumes).toHaveLength(made.length);
      const more = createMany(image, { volumeIds: [...made, ...newIds(3)], sizeBytes });
      await expect(more).rejects.toMatchObject({ type: 'NoSpace', details: { neededBytes: 3 * sizeBytes } });
      expect((await createMany(image, { volumeIds: made, sizeBytes })).volumes).toHaveLength(made.length);
    } finally {
      for (const volumeId of made) await deleteVolume(cache, volumeId);
    }
    const later = newIds(3);
    expect((await createMany(image, { volumeIds: later, sizeBytes })).volumes).toHaveLength(later.length);
    for (const volumeId of later) await deleteVolume(cache, volumeId);
  });

  it('roll over to further parents at the clone limit', async () => {
    const { image } = await flow.upload('limit');
    const { database, backend } = flow.stack;
    await updateLimits(database, { name: backend, limits: { cloneLimit: 5 }, by: 'test' });
    try {
      const { volumes, failed } = await createMany(image, { count: FEW });
      expect([volumes.length, failed.length]).toEqual([FEW, 0]);
      const clones = (await flow.entriesOf(image)).map((entry) => entry.clones);
      expect(Math.max(...clones)).toBeLessThanOrEqual(5);
      expect(clones.reduce((sum, count) => sum + count, 0)).toBe(FEW);
    } finally {
      await updateLimits(database, { name: backend, limits: { cloneLimit: null }, by: 'test' });
    }
  });

  it('are made by the command line', async () => {
    const { image } = await flow.upload('cli');
    const args = ['volume', 'create', '--image', image.id, '--backend', flow.stack.backend, '--count', String(FEW)];
    const { exitCode, stdout, stderr } = await runIvc(args, flow.stack.environment);
    expect(stderr).toContain(`${FEW} of ${FEW} volumes available: ${FEW - 1} joined, 1 miss`);
    expect(stdout.trimEnd().split('\n')).toHaveLength(FEW + 1);
    expect(exitCode).toBe(0);
  });
});

describe('a bad request for many volumes', () => {
  const twice = randomUUID();
  it.each([
    ['no number', {}, 'count: got nothing, allowed is a whole number from 1 to 1000, or volumeIds'],
    ['none', { count: 0 }, 'count: got 0, allowed is a whole number from 1 to 1000'],
    ['too many', { count: 1001 }, 'count: got 1001, allowed is a whole number from 1 to 1000'],
    ['a number and ids', { count: 2, volumeIds: newIds(2) }, 'count: got 2, allowed is nothing beside volumeIds'],
    ['an id twice', { volumeIds: [twice, twice] }, `volumeIds: got ${twice}, allowed is each id once`],
    ['another policy', { count: 1, onFailure: 'retry' as never }, 'onFailure: got "retry", allowed is keep or undo'],
  ])('with %s gets one clear error, and nothing is made', async (_what, input, message) => {
    const before = await countRows();
    const imageId = randomUUID();
    const { cache, backend } = flow.stack;
    await expect(createVolumes(cache, { imageId, backend, ...input }, {})).rejects.toMatchObject({
      type: 'InvalidRequest',
      exitCode: 2,
      message: expect.stringContaining(message),
    });
    expect(await countRows()).toBe(before);
  });

  it('that another request has an id of is refused as a whole', async () => {
    const { image } = await flow.upload('conflict');
    const { volumeId } = await createVolume(flow.stack.cache, { imageId: image.id, backend: flow.stack.backend });
    const others = newIds(3);
    await expect(createMany(image, { volumeIds: [...others, volumeId], name: 'mine' })).rejects.toMatchObject({
      type: 'Conflict',
    });
    expect(await statesOf(others)).toEqual([undefined, undefined, undefined]);
  });
});
