import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const EXPORT = '192.0.2.1:/volumes';
const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  const path = flow.stack.environment['IVC_CONFIG'] ?? '';
  const config: { backends: Record<string, { export?: string }> } = parse(readFileSync(path, 'utf8'));
  for (const backend of Object.values(config.backends)) backend.export = EXPORT;
  writeFileSync(path, stringify(config));
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const connector = { host: 'h1', ip: '192.0.2.7', initiator: 'iqn.x:y', mountpoint: '/dev/vdb' };
const ofService = { headers: { 'x-service-token': 'nova' } };

async function newVolume({ multiattach = false, readOnly = false } = {}): Promise<string> {
  const { body } = await api.call('POST /v3/p1/volumes', { volume: { size: 1 } });
  const { id } = body.volume;
  await flow.until('the volume to be available', async () => (await volumeOf(id)).status === 'available');
  if (multiattach || readOnly)
    await flow.stack.database
      .sql`update volumes set multiattach = ${multiattach}, read_only = ${readOnly} where id = ${id}`;
  return id;
}
const volumeOf = async (id: string) => (await api.call(`GET /v3/p1/volumes/${id}`)).body.volume;
const create = async (volumeId: string, more: object = {}, minor = 70) =>
  await api.call('POST /v3/p1/attachments', { attachment: { volume_uuid: volumeId, ...more } }, { minor });

describe('attachments', () => {
  it('are reserved, connected, completed, listed and deleted, and the volume follows', async () => {
    const id = await newVolume();
    const instance = randomUUID();
    const reserved = await create(id, { instance_uuid: instance, connector: null });
    expect(reserved.status).toBe(200);
    const { attachment } = reserved.body;
    expect(attachment).toEqual({
      id: expect.any(String),
      status: 'reserved',
      instance,
      volume_id: id,
      attached_at: '',
      detached_at: '',
      attach_mode: 'null',
      connection_info: {},
    });
    expect(await volumeOf(id)).toMatchObject({ status: 'reserved', attachments: [] });
    expect((await create(id)).status).toBe(400);

    const path = `/v3/p1/attachments/${attachment.id}`;
    const connected = await api.call(`PUT ${path}`, { attachment: { connector } });
    expect(connected.body.attachment).toMatchObject({ status: 'attaching', attach_mode: 'rw' });
    expect(connected.body.attachment.connection_info).toEqual({
      driver_volume_type: 'nfs',
      export: EXPORT,
      name: expect.stringContaining(id),
      options: null,
      format: expect.any(String),
      volume_id: id,
      access_mode: 'rw',
      qos_specs: null,
      encrypted: false,
      cacheable: false,
      attachment_id: attachment.id,
    });
    expect((await volumeOf(id)).status).toBe('attaching');
    expect((await api.call(`POST ${path}/action`, { 'os-complete': null })).status).toBe(204);
    expect(await volumeOf(id)).toMatchObject({
      status: 'in-use',
      attachments: [{ id, attachment_id: attachment.id, server_id: instance, host_name: 'h1', device: '/dev/vdb' }],
    });
    const shown = (await api.call(`GET ${path}`)).body.attachment;
    expect(shown).toEqual({ ...connected.body.attachment, status: 'attached' });
    const ofInstance = `instance_id=${instance}`;
    expect((await api.call(`GET /v3/p1/attachments?${ofInstance}`)).body.attachments).toEqual([
      { id: attachment.id, status: 'attached', instance, volume_id: id },
    ]);
    expect((await api.call(`GET /v3/p1/attachments/detail?${ofInstance}`)).body).toEqual({ attachments: [shown] });
    expect((await api.call(`GET /v3/p2/attachments?${ofInstance}`)).body.attachments).toEqual([]);
    expect((await api.call(`GET /v3/p1/attachments?status=reserved&${ofInstance}`)).body.attachments).toEqual([]);

    expect((await api.call(`DELETE /v3/p1/volumes/${id}`)).status).toBe(400);
    const refused = await api.call(`DELETE ${path}`);
    expect(refused.body).toEqual({ conflictingRequest: { code: 409, message: expect.stringContaining(instance) } });
    expect((await volumeOf(id)).status).toBe('in-use');
    const deleted = await api.call(`DELETE ${path}`, undefined, ofService);
    expect(deleted).toMatchObject({ status: 200, body: { attachments: [] } });
    expect(await volumeOf(id)).toMatchObject({ status: 'available', attachments: [] });
    for (const request of ['GET', 'DELETE']) expect((await api.call(`${request} ${path}`)).status).toBe(404);
    expect((await api.call(`DELETE /v3/p1/volumes/${id}`)).status).toBe(202);
  });

  it('of several servers are for volumes that say so, and for the same server on its way to another host', async () => {
    const [single, shared, contested] = [await newVolume(), await newVolume({ multiattach: true }), await newVolume()];
    const answers = await Promise.all([create(contested), create(contested)]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const instance = randomUUID();
    const { body } = await create(single, { instance_uuid: instance, connector });
    await api.call(`POST /v3/p1/attachments/${body.attachment.id}/action`, { 'os-complete': null });
    const moved = await create(single, { instance_uuid: instance });
    expect(moved.status).toBe(200);
    const twice = await api.call(`PUT /v3/p1/attachments/${moved.body.attachment.id}`, { attachment: { connector } });
    expect(twice.status).toBe(400);
    expect((await create(single, { instance_uuid: randomUUID(), connector })).status).toBe(400);

    const ids: string[] = [];
    for (const host of ['h1', 'h2']) {
      const { body: answer } = await create(shared, { instance_uuid: randomUUID(), connector: { host } });
      ids.push(answer.attachment.id);
      await api.call(`POST /v3/p1/attachments/${answer.attachment.id}/action`, { 'os-complete': null });
    }
    expect((await volumeOf(shared)).attachments).toHaveLength(2);
    const left = await api.call(`DELETE /v3/p1/attachments/${ids[0]}`, undefined, ofService);
    expect(left.body.attachments).toMatchObject([{ id: ids[1], status: 'attached' }]);
    expect((await volumeOf(shared)).status).toBe('in-use');
  });

  it('of a read-only volume are for reading', async () => {
    const id = await newVolume({ readOnly: true });
    expect((await create(id, { mode: 'rw' })).status).toBe(400);
    expect((await create(id, { connector: { host: 'h', mode: 'rw' } })).status).toBe(400);
    const { body } = await create(id, { connector });
    expect(body.attachment).toMatchObject({ attach_mode: 'ro', connection_info: { access_mode: 'ro' } });
    expect((await volumeOf(id)).status).toBe('attaching');
    await api.call(`DELETE /v3/p1/attachments/${body.attachment.id}`);
    expect((await volumeOf(id)).status).toBe('available');
  });

  it('of the older actions of a volume do the same', async () => {
    const id = await newVolume();
    const act = async (action: object, options = {}) =>
      (await api.call(`POST /v3/p1/volumes/${id}/action`, action, options)).status;
    const status = async () => (await volumeOf(id)).status;
    expect(await act({ 'os-reserve': null })).toBe(202);
    expect(await status()).toBe('attaching');
    expect(await act({ 'os-reserve': null })).toBe(400);
    expect(await act({ 'os-unreserve': null })).toBe(202);
    expect(await act({ 'os-reserve': null })).toBe(202);
    const info = await api.call(`POST /v3/p1/volumes/${id}/action`, { 'os-initialize_connection': { connector } });
    expect(info).toMatchObject({
      status: 200,
      body: { connection_info: { driver_volume_type: 'nfs', data: { export: EXPORT, access_mode: 'rw' } } },
    });
    expect(await act({ 'os-attach': { mountpoint: '/dev/vdc' } })).toBe(400);
    expect(await act({ 'os-attach': { mountpoint: '/dev/vdc', host_name: 'h1' } })).toBe(202);
    expect(await volumeOf(id)).toMatchObject({
      status: 'in-use',
      attachments: [{ device: '/dev/vdc', server_id: null, host_name: 'h1' }],
    });
    expect(await act({ 'os-attach': { mountpoint: '/dev/vdc', host_name: 'h2' } })).toBe(400);
    expect(await act({ 'os-begin_detaching': null })).toBe(202);
    expect(await status()).toBe('detaching');
    expect(await act({ 'os-begin_detaching': null })).toBe(400);
    expect(await act({ 'os-roll_detaching': null })).toBe(202);
    expect(await act({ 'os-terminate_connection': { connector } })).toBe(202);
    expect(await status()).toBe('in-use');
    expect(await act({ 'os-detach': { attachment_id: randomUUID() } })).toBe(404);
    expect(await act({ 'os-detach': {} })).toBe(202);
    expect(await status()).toBe('available');

    const instance = { instance_uuid: randomUUID() };
    const { body } = await create(id, { ...instance, connector });
    expect(await act({ 'os-terminate_connection': { connector } })).toBe(409);
    expect(await act({ 'os-detach': { attachment_id: body.attachment.id } })).toBe(409);
    expect(await act({ 'os-detach': { attachment_id: body.attachment.id } }, ofService)).toBe(202);
    expect(await status()).toBe('available');
  });

  it.each<{ what: string; request: string; body?: object; minor?: number; status: number }>([
    { what: 'a volume that nobody has', request: 'POST', body: { volume_uuid: randomUUID() }, status: 404 },
    { what: 'no volume', request: 'POST', body: {}, status: 400 },
    { what: 'a field that there is none', request: 'POST', body: { volume_uuid: randomUUID(), x: 1 }, status: 400 },
    {
      what: 'a version before attachments',
      request: 'POST',
      body: { volume_uuid: randomUUID() },
      minor: 26,
      status: 404,
    },
    {
      what: 'a mode before modes',
      request: 'POST',
      body: { volume_uuid: randomUUID(), mode: 'ro' },
      minor: 53,
      status: 400,
    },
  ])('are refused for $what', async ({ request, body, minor, status }) => {
    expect((await api.call(`${request} /v3/p1/attachments`, { attachment: body }, { minor })).status).toBe(status);
  });
});
