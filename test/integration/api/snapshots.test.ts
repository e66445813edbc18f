import { randomUUID } from 'node:crypto';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const whenAvailable = async (path: string, kind: 'volume' | 'snapshot') =>
  await flow.until(`${path} to be available`, async () => {
    const { body } = await api.call(`GET /v3/p1/${path}`);
    return body[kind].status === 'available';
  });
const createVolume = async (): Promise<string> => {
  const { body } = await api.call('POST /v3/p1/volumes', { volume: { size: 1 } });
  await whenAvailable(`volumes/${body.volume.id}`, 'volume');
  return body.volume.id;
};
const take = async (volumeId: string, snapshot: object = {}): Promise<string> => {
  const { status, body } = await api.call('POST /v3/p1/snapshots', { snapshot: { volume_id: volumeId, ...snapshot } });
  expect(status).toBe(202);
  await whenAvailable(`snapshots/${body.snapshot.id}`, 'snapshot');
  return body.snapshot.id;
};
const ids = async (query: string): Promise<string[]> => {
  const { body } = await api.call(`GET /v3/p1/snapshots?${query}`);
  return body.snapshots.map(({ id }: { id: string }) => id);
};

describe('snapshots', () => {
  it('are one for the same request with the same key', async () => {
    const snapshot = { volume_id: await createVolume(), name: 'once' };
    const send = async (key: string) => {
      const headers = { 'idempotency-key': key };
      const { status, body } = await api.call('POST /v3/p1/snapshots', { snapshot }, { headers });
      expect(status).toBe(202);
      await whenAvailable(`snapshots/${body.snapshot.id}`, 'snapshot');
      return body.snapshot.id as string;
    };
    const key = randomUUID();
    const first = await send(key);
    expect(await send(key)).toBe(first);
    expect(await send(randomUUID())).not.toBe(first);
    expect(await ids(`volume_id=${snapshot.volume_id}`)).toHaveLength(2);
  });

  it('are taken, listed by pages and orders, changed and deleted, and keep their volume', async () => {
    const volume = await createVolume();
    const [b, a] = [await take(volume, { name: 'b', metadata: { k: 'v' } }), await take(volume, { name: 'a' })];
    const of = `volume_id=${volume}`;
    expect(await ids(of)).toEqual([a, b]);
    expect(await ids(`${of}&sort_key=created_at&sort_dir=asc`)).toEqual([b, a]);
    expect(await ids(`${of}&sort_key=name&sort_dir=asc`)).toEqual([a, b]);
    expect(await ids(`${of}&sort_key=id&sort_dir=asc`)).toEqual([a, b].sort());
    expect(await ids(`${of}&limit=1&marker=${a}`)).toEqual([b]);
    expect(await ids(`${of}&offset=1`)).toEqual([b]);
    expect(await ids(`${of}&limit=0`)).toEqual([]);
    expect(await ids(`${of}&name=b&status=available`)).toEqual([b]);
    expect(await ids(`${of}&metadata=${encodeURIComponent("{'k': 'v'}")}`)).toEqual([b]);
    expect((await api.call(`GET /v3/p1/snapshots?marker=${randomUUID()}`)).status).toBe(404);
    expect((await api.call('GET /v3/p1/snapshots?sort_key=invalid')).status).toBe(400);
    expect((await api.call('GET /v3/p1/snapshots?limit=invalid')).status).toBe(400);
    expect((await api.call(`GET /v3/p2/snapshots/detail?${of}`)).body.snapshots).toEqual([]);

    const put = await api.call(`PUT /v3/p1/snapshots/${b}`, { snapshot: { name: 'c', description: 'told' } });
    expect(put.body.snapshot).toMatchObject({ id: b, name: 'c', description: 'told', size: 1 });
    const metadata = `/v3/p1/snapshots/${b}/metadata`;
    expect((await api.call(`PUT ${metadata}`, { metadata: { x: '1' } })).body).toEqual({ metadata: { x: '1' } });
    expect((await api.call(`DELETE ${metadata}/x`)).status).toBe(200);
    expect((await api.call(`GET ${metadata}/x`)).status).toBe(404);

    expect((await api.call(`DELETE /v3/p1/volumes/${volume}`)).status).toBe(400);
    expect((await api.call(`DELETE /v3/p1/snapshots/${a}`)).status).toBe(202);
    await flow.until('it to be gone', async () => (await api.call(`GET /v3/p1/snapshots/${a}`)).status === 404);
    expect((await api.call(`DELETE /v3/p1/volumes/${volume}?cascade=True`)).status).toBe(202);
    await flow.until('all to be gone', async () => (await api.call(`GET /v3/p1/volumes/${volume}`)).status === 404);
  });

  it('are said to be something else, in the order of their work', async () => {
    const id = await take(await createVolume());
    const act = async (action: object) => (await api.call(`POST /v3/p1/snapshots/${id}/action`, action)).status;
    expect(await act({ 'os-reset_status': { status: 'creating' } })).toBe(202);
    expect(await act({ 'os-update_snapshot_status': { status: 'deleting' } })).toBe(400);
    expect(await act({ 'os-update_snapshot_status': { status: 'error', progress: '80%' } })).toBe(202);
    const { body } = await api.call(`GET /v3/p1/snapshots/${id}`);
    expect(body.snapshot).toMatchObject({ status: 'error', 'os-extended-snapshot-attributes:progress': '80%' });
    expect(await act({ 'os-reset_status': { status: 'deleting' } })).toBe(202);
    expect((await api.call(`DELETE /v3/p1/snapshots/${id}`)).status).toBe(400);
    expect(await act({ 'os-force_delete': {} })).toBe(202);
  });
});

describe('transfers', () => {
  it('give a volume and its snapshots to whoever has the key, and nobody else sees them', async () => {
    const volume = await createVolume();
    const snapshot = await take(volume);
    const offered = await api.call('POST /v3/p1/volume-transfers', { transfer: { volume_id: volume, name: 'gift' } });
    expect(offered.status).toBe(202);
    const { id, auth_key: key } = offered.body.transfer;
    expect((await api.call(`GET /v3/p1/volumes/${volume}`)).body.volume.status).toBe('awaiting-transfer');
    const listed = await api.call('GET /v3/p1/volume-transfers/detail');
    expect(listed.body.transfers).toMatchObject([{ id, volume_id: volume, name: 'gift', accepted: false }]);
    expect(JSON.stringify(listed.body)).not.toContain(key);
    expect((await api.call('GET /v3/p2/os-volume-transfer')).body.transfers).toEqual([]);
    const accept = async (authKey: string) =>
      await api.call(`POST /v3/p2/os-volume-transfer/${id}/accept`, { accept: { auth_key: authKey } });
    expect((await accept('wrong')).status).toBe(404);
    expect(await accept(key)).toMatchObject({ status: 202, body: { transfer: { id, volume_id: volume } } });
    expect((await accept(key)).status).toBe(404);
    const { body } = await api.call(`GET /v3/p2/volumes/${volume}`);
    expect(body.volume).toMatchObject({ status: 'available', 'os-vol-tenant-attr:tenant_id': 'p2' });
    const { snapshots } = (await api.call('GET /v3/p2/snapshots/detail')).body;
    expect(snapshots.map((row: { id: string }) => row.id)).toEqual([snapshot]);
    const usage = await flow.stack.database.sql`
      select project_id as project, sum(volumes)::int as volumes, sum(snapshots)::int as snapshots from project_usage
      where project_id = 'p2' group by 1`;
    expect(usage).toEqual([{ project: 'p2', volumes: 1, snapshots: 1 }]);
  });

  it('end, and leave their volume to its project', async () => {
    const volume = await createVolume();
    const offered = await api.call('POST /v3/p1/os-volume-transfer', { transfer: { volume_id: volume } });
    const { id } = offered.body.transfer;
    expect((await api.call(`DELETE /v3/p1/volumes/${volume}`)).status).toBe(400);
    expect((await api.call(`DELETE /v3/p1/os-volume-transfer/${id}`)).status).toBe(202);
    expect((await api.call(`GET /v3/p1/os-volume-transfer/${id}`)).status).toBe(404);
    expect((await api.call(`GET /v3/p1/volumes/${volume}`)).body.volume.status).toBe('available');
  });
});
