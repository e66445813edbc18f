import { randomUUID } from 'node:crypto';
import { createVolume, createVolumes } from '../../../client/volumes';
import type { BackendName } from '../../../workflows/contract/ids';
import type { Image } from '../../../workflows/contract/image';
import type { CreateVolumeInput } from '../../../workflows/contract/volume';
import { brand } from '../../support/brand';
import { until, useStack } from '../../support/stack/flows';
import { runIvc } from '../../support/stack/ivc';
import { readCounter } from '../../support/stack/metrics';

const suffix = randomUUID().slice(0, 6);
const first = brand<BackendName>(`first-${suffix}`);
const second = brand<BackendName>(`second-${suffix}`);
const OWNER = 'owner';

const flow = useStack({
  backend: first,
  otherBackends: [second],
  config: {
    volumeTypes: {
      both: { backends: [first, second] },
      only: { backends: [second], extraSpecs: { volume_backend_name: 'b' }, projects: [OWNER] },
    },
  },
});

const create = (image: Image, input: Partial<CreateVolumeInput>) =>
  createVolume(flow.stack.cache, { imageId: image.id, ...input });
const decisionOf = async (volumeId: string) => (await flow.stack.inventory.decisions(volumeId))[0];
const setFree = async (backend: BackendName, freeBytes: number) => {
  await flow.stack.database.sql`update backends set free_bytes = ${freeBytes} where name = ${backend}`;
};
const statements = () => readCounter(flow.stack.workers.at(-1)?.metricsUrl ?? '', 'ivc_sql_statements_total');

it('is where the most free space is when no backend has the image, and then where the image is', async () => {
  const { image } = await flow.upload('space');
  await setFree(first, 1000);
  await setFree(second, 2000);
  const miss = await create(image, { backend: 'any' });
  expect(miss).toMatchObject({ outcome: 'miss', backend: second });
  await setFree(first, 3000);
  const hit = await create(image, { volumeType: 'both' });
  expect(hit).toMatchObject({ outcome: 'hit', backend: second });
  // The decision says both: why this outcome, and why this backend.
  const row = await flow.volume(hit.volumeId);
  expect(row).toMatchObject({ volumeType: 'both', placement: expect.stringContaining(second) });
  expect(hit.reason).toBe(`the image was cached; ${row?.placement}`);
  expect(await decisionOf(hit.volumeId)).toMatchObject({ reason: hit.reason, backend: second });
});

it('is where a population of the image runs', async () => {
  const { image } = await flow.upload('populating');
  await setFree(first, 1000);
  await setFree(second, 2000);
  const { imageService } = flow.stack;
  await imageService.inject({ kind: 'stall', imageId: image.id });
  const leader = await createVolume(flow.stack.cache, { imageId: image.id, backend: first }, { wait: false });
  await until('a flight of it', async () => (await flow.flightOf(image)) !== undefined);
  const joined = await createVolume(flow.stack.cache, { imageId: image.id, backend: 'any' }, { wait: false });
  const placed = await until('the row', async () => await flow.volume(joined.volumeId));
  expect(placed).toMatchObject({ backend: first });
  await imageService.clearFaults();
  for (const { workflowId } of [leader, joined]) await flow.stack.client.workflow.getHandle(workflowId).result();
});

it('is where there is room, and the same request again is the same volume on the same backend', async () => {
  const { image } = await flow.upload('room');
  await create(image, { backend: first });
  const { sql } = flow.stack.database;
  const [{ total } = { total: 0 }] = await sql<
    { total: number }[]
  >`select total_bytes::float8 as total from backends where name = ${first}`;
  await sql`update backends set total_bytes = 1 where name = ${first}`;
  const input = { backend: 'any', volumeId: randomUUID() };
  const made = await create(image, input);
  expect(made).toMatchObject({ outcome: 'miss', backend: second });
  await sql`update backends set total_bytes = ${total} where name = ${first}`;
  await setFree(first, 9000);
  await setFree(second, 10);
  expect(await create(image, input)).toMatchObject({ backend: second, connection: made.connection });
  await expect(create(image, { ...input, backend: first })).rejects.toMatchObject({ type: 'Conflict' });
});

it('is where it was when a create that failed is tried again', async () => {
  const { image } = await flow.upload('again');
  await setFree(first, 1000);
  await setFree(second, 2000);
  await flow.stack.imageService.inject({ kind: 'status-404', imageId: image.id, times: 100 });
  const input = { backend: 'any', volumeId: randomUUID() };
  await expect(create(image, input)).rejects.toMatchObject({ type: 'ImageNotFound' });
  const failed = await flow.volume(input.volumeId);
  expect(failed).toMatchObject({ state: 'error', backend: second });
  await flow.stack.imageService.clearFaults();
  await setFree(first, 9000);
  expect(await create(image, input)).toMatchObject({ outcome: 'miss', backend: second });
  expect((await flow.volume(input.volumeId))?.placement).toBe(failed?.placement);
});

it('costs no statement when the backend is named, and one when it is chosen', async () => {
  const { image } = await flow.upload('cost');
  await create(image, { backend: first });
  await create(image, { backend: second });
  const costOf = async (input: Partial<CreateVolumeInput>) => {
    const before = await statements();
    expect(await create(image, input)).toMatchObject({ outcome: 'hit' });
    return (await statements()) - before;
  };
  expect(await costOf({ backend: first })).toBeLessThanOrEqual(3);
  expect(await costOf({ volumeType: 'both', backend: first })).toBeLessThanOrEqual(3);
  expect(await costOf({ volumeType: 'only', projectId: OWNER })).toBeLessThanOrEqual(3);
  expect(await costOf({ backend: 'any' })).toBeLessThanOrEqual(4);
});

it('is the same for many volumes at once', async () => {
  const { image } = await flow.upload('bulk');
  await create(image, { backend: second });
  const request = { imageId: image.id, volumeType: 'both', count: 3, requestId: randomUUID() };
  const { result } = await createVolumes(flow.stack.cache, request, { wait: true });
  expect(result).toMatchObject({ backend: second, failed: [] });
  const volumeIds = result.volumes.map(({ volumeId }) => volumeId);
  for (const volumeId of volumeIds) {
    expect(await flow.volume(volumeId)).toMatchObject({ backend: second, volumeType: 'both' });
    expect((await decisionOf(volumeId))?.reason).toContain(second);
  }
  const again = await createVolumes(flow.stack.cache, request, { wait: true });
  expect(again.result.volumes.map(({ volumeId }) => volumeId)).toEqual(volumeIds);
});

it('finds another project’s type as little as one that is not there', async () => {
  const { image } = await flow.upload('types');
  for (const [volumeType, projectId] of [
    ['only', 'other'],
    ['absent', OWNER],
  ] as const)
    await expect(create(image, { volumeType, projectId })).rejects.toMatchObject({
      type: 'VolumeTypeNotFound',
      exitCode: 3,
    });
  expect(await create(image, { volumeType: 'only', projectId: OWNER })).toMatchObject({ backend: second });
  await expect(create(image, { volumeType: 'only', projectId: OWNER, backend: first })).rejects.toMatchObject({
    type: 'InvalidRequest',
    details: { field: 'backend' },
  });
});

it('is said by the command line', async () => {
  const { image } = await flow.upload('cli');
  const ivc = async (...args: string[]) => {
    const { stdout } = await runIvc([...args, '--json'], flow.stack.environment);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const made = await ivc('volume', 'create', '--image', image.id, '--type', 'only', '--project', OWNER);
  expect(made).toMatchObject({ backend: second });
  expect(await ivc('volume', 'show', String(made['volumeId']), '--project', OWNER)).toMatchObject({
    volumeType: 'only',
    placement: expect.stringContaining(second),
  });
  expect(await ivc('volume', 'create', '--image', image.id, '--backend', 'any')).toMatchObject({ backend: second });
  const names = async (...args: string[]) => (await ivc('volume', 'types', ...args))['volumeTypes'];
  expect(await names('--project', 'other')).toMatchObject([{ name: 'both', backends: [first, second] }]);
  expect(await names('--project', OWNER)).toMatchObject([{ name: 'both' }, { name: 'only', backends: [second] }]);
});
