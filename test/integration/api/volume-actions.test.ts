import { randomUUID } from 'node:crypto';
import { MiB } from '../../../workflows/contract/bytes';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const act = async (id: string, action: object, options = {}) =>
  await api.call(`POST /v3/p1/volumes/${id}/action`, action, options);
const show = async (id: string) => (await api.call(`GET /v3/p1/volumes/${id}`)).body.volume;
const create = async (volume: object = {}): Promise<string> => {
  const { body } = await api.call('POST /v3/p1/volumes', { volume: { size: 1, ...volume } });
  const { id } = body.volume;
  await flow.until('the volume to be available', async () => (await show(id)).status === 'available');
  return id;
};

describe('the actions of a volume', () => {
  it('extend it, and never make it smaller', async () => {
    const id = await create();
    expect((await act(id, { 'os-extend': { new_size: 2 } })).status).toBe(202);
    expect(await show(id)).toMatchObject({ size: 2, status: 'available' });
    const refused = await act(id, { 'os-extend': { new_size: '2' } });
    expect(refused.status).toBe(400);
    expect(refused.body.badRequest.message).toContain('must be greater than current size. (current: 2, extended: 2)');
  });

  it('set its name and description, bootable, read-only and the metadata of its image', async () => {
    const id = await create({ name: 'named', description: 'told' });
    const put = async (volume: object) => (await api.call(`PUT /v3/p1/volumes/${id}`, { volume })).body.volume;
    expect(await put({ description: ' other ' })).toMatchObject({ name: 'named', description: 'other' });
    expect(await put({ name: null, display_description: '' })).toMatchObject({ name: null, description: null });
    expect((await act(id, { 'os-set_bootable': { bootable: 'True' } })).status).toBe(200);
    expect((await act(id, { 'os-update_readonly_flag': { readonly: true } })).status).toBe(202);
    const set = await act(id, { 'os-set_image_metadata': { metadata: { image_id: 'i', image_name: 'n' } } });
    expect(set).toMatchObject({ status: 200, body: { metadata: { image_id: 'i', image_name: 'n' } } });
    expect((await act(id, { 'os-unset_image_metadata': { key: 'image_id' } })).status).toBe(200);
    expect((await act(id, { 'os-unset_image_metadata': { key: 'image_id' } })).status).toBe(404);
    expect((await act(id, { 'os-show_image_metadata': {} })).body).toEqual({ metadata: { image_name: 'n' } });
    expect(await show(id)).toMatchObject({
      bootable: 'true',
      metadata: { readonly: 'True' },
      volume_image_metadata: { image_name: 'n' },
    });
  });

  it('say what it is, and no other delete than by force has one that is in hand', async () => {
    const id = await create();
    for (const status of ['error', 'maintenance', 'creating', 'attaching']) {
      expect((await act(id, { 'os-reset_status': { status } })).status).toBe(202);
      expect(await show(id)).toMatchObject({ status });
    }
    expect((await act(id, { 'os-reset_status': { status: 'in-use' } })).status).toBe(400);
    expect((await act(id, { 'os-extend': { new_size: 2 } })).status).toBe(400);
    const refused = await api.call(`DELETE /v3/p1/volumes/${id}`);
    expect(refused.status).toBe(400);
    expect(refused.body.badRequest.message).toContain('Volume status must be available or error');
    expect((await act(id, { 'os-force_delete': {} })).status).toBe(202);
    await flow.until('the volume to be gone', async () => (await api.call(`GET /v3/p1/volumes/${id}`)).status === 404);
  });

  it('give it the bytes of an image, and it is `downloading` until it has them', async () => {
    const { image } = await flow.upload('reimaged', { virtualBytes: 16 * MiB });
    const id = await create();
    await flow.stack.imageService.inject({ kind: 'slow', on: 'file', bytesPerSecond: MiB, times: 9 });
    expect((await act(id, { 'os-reimage': { image_id: image.id } })).status).toBe(202);
    expect(await show(id)).toMatchObject({ status: 'downloading', bootable: 'false' });
    const listed = async (status: string): Promise<boolean> => {
      const { body } = await api.call(`GET /v3/p1/volumes?status=${status}`);
      return body.volumes.some((volume: { id: string }) => volume.id === id);
    };
    expect([await listed('downloading'), await listed('available')]).toEqual([true, false]);
    expect((await act(id, { 'os-extend': { new_size: 2 } })).status).toBe(400);
    await flow.stack.imageService.clearFaults();
    await flow.until('the volume to be available', async () => (await show(id)).status === 'available');
    expect(await show(id)).toMatchObject({ bootable: 'true', volume_image_metadata: { image_id: image.id } });
    expect([await listed('downloading'), await listed('available')]).toEqual([false, true]);
  });

  it.each<{ what: string; action: object; status: number }>([
    { what: 'no such action', action: { 'os-unknown': {} }, status: 400 },
    { what: 'no action', action: {}, status: 400 },
    { what: 'two actions', action: { 'os-extend': { new_size: 2 }, 'os-unknown': {} }, status: 400 },
    { what: 'a size that is null', action: { 'os-extend': { new_size: null } }, status: 400 },
    { what: 'a size that is no number', action: { 'os-extend': { new_size: 'abc' } }, status: 400 },
    { what: 'a flag that is none', action: { 'os-set_bootable': { bootable: 'maybe' } }, status: 400 },
    { what: 'a status that there is not', action: { 'os-reset_status': { status: 'fine' } }, status: 404 },
    { what: 'a volume that nobody has', action: { 'os-extend': { new_size: 2 } }, status: 404 },
  ])('are refused with $what', async ({ action, status }) => {
    expect((await act(randomUUID(), action)).status).toBe(status);
  });
});
