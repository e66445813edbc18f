import { randomUUID } from 'node:crypto';
import { reconcile } from '../../../client/reconcile';
import { MiB } from '../../../workflows/contract/bytes';
import { startApi, type TestApi } from '../../support/stack/api';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

const flow = useStack({
  config: { schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1ms' } },
});
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const act = async (id: string, action: object, options = {}) =>
  await api.call(`POST /v3/p1/volumes/${id}/action`, action, options);
const upload = async (id: string, input: object = {}, options = {}) =>
  await act(id, { 'os-volume_upload_image': { image_name: 'golden', ...input } }, options);
const statusOf = async (id: string): Promise<string> => (await api.call(`GET /v3/p1/volumes/${id}`)).body.volume.status;
const untilStatus = async (id: string, status: string): Promise<void> =>
  void (await flow.until(`volume ${id} to be ${status}`, async () => (await statusOf(id)) === status));
const failuresOf = async (id: string): Promise<object> =>
  await flow.stack.database.sql`select detail from events where volume_id = ${id} and kind = 'volume.upload-failed'`;
/** With an image's bytes, so few that they are soon sent. */
const create = async (name: string): Promise<string> => {
  const { image } = await flow.upload(name, { virtualBytes: 16 * MiB });
  return (await flow.create(image)).volumeId;
};
/** Later uploads take long. */
const slowDown = async (): Promise<void> =>
  await flow.stack.imageService.inject({ kind: 'slow', on: 'upload', bytesPerSecond: MiB, times: 9 });
/** An upload that does not end by itself. */
const startSlow = async (name: string, input: object = {}) => {
  const id = await create(name);
  await slowDown();
  const imageId: string = (await upload(id, input)).body['os-volume_upload_image'].image_id;
  const [row] = await flow.stack.database.sql<{ workflow_id: string }[]>`
    select workflow_id from uploads where volume_id = ${id}`;
  return { id, imageId, run: flow.stack.client.workflow.getHandle(row?.workflow_id ?? '') };
};
const attach = async (id: string): Promise<void> => {
  const attached = await act(id, { 'os-attach': { instance_uuid: randomUUID(), mountpoint: '/dev/vdb' } });
  expect(attached.status).toBe(202);
};
afterEach(async () => {
  await flow.stack.imageService.clearFaults();
  await expectCleanSlate(flow.stack);
});

describe('os-volume_upload_image', () => {
  it('answers with an image that is there, and holds the volume until that has its bytes', async () => {
    const id = await create('whole');
    await slowDown();
    const answer = await upload(id, { disk_format: 'qcow2', visibility: 'shared', protected: 'true' });
    expect(answer.status).toBe(202);
    const { image_id: imageId, ...body } = answer.body['os-volume_upload_image'];
    expect(body).toEqual({
      id,
      updated_at: expect.any(String),
      status: 'uploading',
      display_description: null,
      size: 1,
      volume_type: expect.objectContaining({ name: '__DEFAULT__', deleted: false }),
      container_format: 'bare',
      disk_format: 'qcow2',
      image_name: 'golden',
      protected: true,
      visibility: 'shared',
    });
    expect(await flow.stack.images.getImage(imageId)).toMatchObject({ name: 'golden', protected: true });
    expect(await statusOf(id)).toBe('uploading');
    for (const refused of [await upload(id), await upload(id, { force: true })])
      expect(refused.body.badRequest.message).toContain(`Volume ${id} status must be available`);
    expect((await api.call(`DELETE /v3/p1/volumes/${id}`)).status).toBe(400);
    await flow.stack.imageService.clearFaults();
    await untilStatus(id, 'available');
    expect(await flow.stack.images.getImage(imageId)).toMatchObject({
      status: 'active',
      diskFormat: 'qcow2',
      visibility: 'shared',
      protected: true,
    });
    expect(await failuresOf(id)).toEqual([]);
  });

  it('has one that is in use by force alone, and leaves it so', async () => {
    const id = await create('in-use');
    await attach(id);
    expect((await upload(id)).status).toBe(400);
    for (const unknown of [{ visibility: 'private' }, { protected: true }])
      expect((await upload(id, { force: true, ...unknown }, { minor: 0 })).status).toBe(400);
    const { status, body } = await upload(id, { force: true }, { minor: 0 });
    expect(status).toBe(202);
    const { image_id: imageId } = body['os-volume_upload_image'];
    await flow.until('the image', async () => (await flow.stack.images.getImage(imageId)).status === 'active');
    await untilStatus(id, 'in-use');
  });

  it('that fails sets the volume free, with an event that says why', async () => {
    const id = await create('cut');
    await slowDown();
    const imageId: string = (await upload(id)).body['os-volume_upload_image'].image_id;
    await flow.stack.images.deleteImage(imageId);
    await flow.stack.imageService.clearFaults();
    await untilStatus(id, 'available');
    expect(await failuresOf(id)).toMatchObject([{ detail: { imageId, error: expect.stringMatching(/^Image/) } }]);
  });

  it('that is cancelled leaves no volume behind', async () => {
    const { id, imageId, run } = await startSlow('cancelled', { protected: true });
    await run.cancel();
    await untilStatus(id, 'available');
    await expect(flow.stack.images.getImage(imageId)).rejects.toMatchObject({ type: 'ImageNotFound' });
    expect(await failuresOf(id)).toMatchObject([{ detail: { imageId, error: 'Cancelled' } }]);
  });

  it('that is terminated leaves no volume behind, once it was looked for', async () => {
    const { id, imageId, run } = await startSlow('terminated');
    await run.terminate();
    expect(await statusOf(id)).toBe('uploading');
    const look = async () => (await reconcile(flow.stack.cache, { backend: flow.stack.backend }, {})).result.findings;
    const found = await look();
    expect(found).toContainEqual(expect.objectContaining({ kind: 'stuck-upload', object: id }));
    expect(found).toContainEqual(expect.objectContaining({ kind: 'image-without-bytes', object: imageId }));
    expect(await statusOf(id)).toBe('available');
    expect(await failuresOf(id)).toMatchObject([{ detail: { imageId } }]);
    await expect(flow.stack.images.getImage(imageId)).rejects.toMatchObject({ type: 'ImageNotFound' });
    await flow.stack.imageService.clearFaults();
    await look();
  });

  it.each<{ what: string; input: object; status: number }>([
    { what: 'no name', input: { image_name: '' }, status: 400 },
    { what: 'a format that is not made', input: { disk_format: 'vhdx' }, status: 400 },
    { what: 'a container that is not made', input: { container_format: 'ovf' }, status: 400 },
    { what: 'a field that is none', input: { color: 'red' }, status: 400 },
    { what: 'a volume that nobody has', input: {}, status: 404 },
  ])('is refused with $what', async ({ input, status }) => {
    expect((await upload(randomUUID(), input)).status).toBe(status);
  });
});
