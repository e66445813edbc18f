import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const whenAvailable = async (id: string) =>
  await flow.until('the volume to be available', async () => {
    const { body } = await api.call(`GET /v3/p1/volumes/${id}`);
    return body.volume.status === 'available' && body.volume;
  });
const create = async (volume: object, project = 'p1') => await api.call(`POST /v3/${project}/volumes`, { volume });

describe('volumes', () => {
  it('are created from an image, shown, listed, changed and deleted', async () => {
    const { image } = await flow.upload('of-the-api');
    const nulls = { source_volid: null, snapshot_id: null, volume_type: null, availability_zone: null, metadata: null };
    const { status, body } = await create({ ...nulls, imageRef: image.id, size: 1, name: 'first', description: 'one' });
    expect(status).toBe(202);
    const { id } = body.volume;
    expect(body.volume).toMatchObject({ name: 'first', description: 'one', size: 1, bootable: 'false', metadata: {} });
    expect(await whenAvailable(id)).toMatchObject({ bootable: 'true', volume_image_metadata: { image_id: image.id } });
    const listed = await api.call('GET /v3/p1/volumes/detail?name=first');
    expect(listed.body.volumes.map((volume: { id: string }) => volume.id)).toEqual([id]);
    const renamed = await api.call(`PUT /v3/p1/volumes/${id}`, { volume: { name: 'second' } });
    expect(renamed.body.volume).toMatchObject({ id, name: 'second', description: 'one' });
    expect((await api.call(`DELETE /v3/p1/volumes/${id}`)).status).toBe(202);
    const isGone = async () => (await api.call(`GET /v3/p1/volumes/${id}`)).status === 404;
    await flow.until('the volume to be deleted', isGone);
  });

  it('have metadata, all of them and each by its key', async () => {
    const { body } = await create({ size: 1, metadata: { a: '1' } });
    const path = `/v3/p1/volumes/${body.volume.id}/metadata`;
    expect((await api.call(`POST ${path}`, { metadata: { b: '2' } })).body).toEqual({ metadata: { a: '1', b: '2' } });
    expect((await api.call(`PUT ${path}`, { metadata: { c: '3' } })).body).toEqual({ metadata: { c: '3' } });
    expect((await api.call(`PUT ${path}/c`, { meta: { c: '4' } })).body).toEqual({ meta: { c: '4' } });
    expect((await api.call(`DELETE ${path}/c`)).status).toBe(200);
    expect((await api.call(`GET ${path}/c`)).status).toBe(404);
  });

  it.each<{ what: string; volume: object; status: number; fault: string }>([
    { what: 'an image that nobody has', volume: { size: 1, imageRef: randomUUID() }, status: 400, fault: 'badRequest' },
    {
      what: 'a volume that nobody has',
      volume: { size: 1, source_volid: randomUUID() },
      status: 404,
      fault: 'itemNotFound',
    },
    {
      what: 'a snapshot that nobody has',
      volume: { size: 1, snapshot_id: randomUUID() },
      status: 404,
      fault: 'itemNotFound',
    },
    { what: 'no size', volume: {}, status: 400, fault: 'badRequest' },
    { what: 'a size of 0', volume: { size: 0 }, status: 400, fault: 'badRequest' },
    { what: 'a size that is no number', volume: { size: 'x' }, status: 400, fault: 'badRequest' },
  ])('are refused with $what', async ({ volume, status, fault }) => {
    const answer = await create(volume);
    expect(answer.status).toBe(status);
    expect(answer.body).toEqual({ [fault]: { code: status, message: expect.any(String) } });
  });

  it('are begun at once by an API with a worker of its own, and by one without it over the server', async () => {
    const { image } = await flow.upload('eager');
    const isEager = async (served: TestApi) => {
      const { body } = await served.call('POST /v3/p1/volumes', { volume: { size: 1, imageRef: image.id } });
      const { id } = body.volume;
      await whenAvailable(id);
      const handle = flow.stack.client.workflow.getHandle(flow.stack.cache.queues.ids.createVolume(id));
      const { events } = await handle.fetchHistory();
      return events?.[0]?.workflowExecutionStartedEventAttributes?.eagerExecutionAccepted === true;
    };
    const eager = await startApi(flow.stack, { worker: true });
    try {
      expect([await isEager(api), await isEager(eager)]).toEqual([false, true]);
      // A crash leaves no core file, in which there would be tokens.
      for (const { process } of [api, eager])
        expect(readFileSync(`/proc/${process.pid}/limits`, 'utf8')).toMatch(/^Max core file size +0 +0 /m);
    } finally {
      expect(await eager.stop()).toBe(0);
    }
  });

  it('are one for one key of a project, however often it is sent', async () => {
    const send = async (project: string, key: string) =>
      await api.call(`POST /v3/${project}/volumes`, { volume: { size: 1 } }, { headers: { 'idempotency-key': key } });
    const [first, ...others] = await Promise.all([send('p1', 'a'), send('p1', 'a'), send('p1', 'a')]);
    const { id } = first?.body.volume ?? {};
    expect(others.map(({ status, body }) => [status, body.volume?.id])).toEqual([
      [202, id],
      [202, id],
    ]);
    await whenAvailable(id);
    expect((await send('p1', 'a')).body.volume).toMatchObject({ id, status: 'available' });
    expect((await send('p2', 'a')).body.volume.id).not.toBe(id);
    expect((await send('p1', 'a b')).status).toBe(400);
  });

  it('are of the one availability zone that is served', async () => {
    const refused = await create({ size: 1, availability_zone: 'elsewhere' });
    expect(refused).toMatchObject({
      status: 400,
      body: { badRequest: { message: "Availability zone 'elsewhere' is invalid." } },
    });
    expect((await create({ size: 1, availability_zone: 'nova' })).status).toBe(202);
  });

  it('tell the version that was served, and refuse one that is not', async () => {
    const answer = await api.call('GET /v3/p1/volumes', undefined, { minor: 59 });
    expect(answer.headers.get('openstack-api-version')).toBe('volume 3.59');
    expect((await api.call('GET /v3/p1/volumes/')).status).toBe(404);
    expect((await api.call('GET /v3/')).status).toBe(200);
    expect(answer.headers.get('x-openstack-request-id')).toMatch(/^req-[0-9a-f-]{36}$/);
    expect((await api.call('GET /v3/p1/volumes', undefined, { minor: 99 })).status).toBe(406);
  });
});
