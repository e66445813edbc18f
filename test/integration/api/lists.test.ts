import { randomUUID } from 'node:crypto';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack, { availabilityZone: 'zone-1' });
});
afterAll(() => api.stop());

const create = async (project: string, volume: object) => {
  const { body } = await api.call(`POST /v3/${project}/volumes`, { volume });
  return await flow.until('the volume to be available', async () => {
    const shown = await api.call(`GET /v3/${project}/volumes/${body.volume.id}`);
    return shown.body.volume.status === 'available' && shown.body.volume;
  });
};

describe('lists of volumes', () => {
  const project = randomUUID();
  const made: { id: string; name: string; created_at: string }[] = [];
  beforeAll(async () => {
    made.push(await create(project, { name: 'alpha', size: 1, metadata: { role: 'web', it: "it's" } }));
    made.push(await create(project, { name: 'beta', size: 2, metadata: { role: 'web' } }));
    made.push(await create(project, { name: 'gamma', size: 2 }));
  });
  const namesBy = async (query: string, minor = 70) => {
    const { status, body } = await api.call(`GET /v3/${project}/volumes/detail?${query}`, undefined, { minor });
    return status === 200 ? body.volumes.map(({ name }: { name: string }) => name) : status;
  };
  const written = (text: string) => encodeURIComponent(text);

  it.each<{ query: string; names: string[] | number; minor?: number }>([
    { query: '', names: ['gamma', 'beta', 'alpha'] },
    { query: 'name=beta', names: ['beta'] },
    { query: 'name~=et', names: ['beta'] },
    { query: 'status=available', names: ['gamma', 'beta', 'alpha'] },
    { query: 'status=in-use', names: [] },
    { query: 'status=null', names: [] },
    { query: `metadata=${written("{'role': 'web'}")}`, names: ['beta', 'alpha'] },
    { query: `metadata=${written('{"role": "web"}')}`, names: ['beta', 'alpha'] },
    { query: `metadata=${written(`{u'role': 'web', 'it': "it's"}`)}`, names: ['alpha'] },
    { query: 'metadata=web', names: [] },
    { query: 'availability_zone=zone-1&bootable=false', names: ['gamma', 'beta', 'alpha'] },
    { query: 'availability_zone=zone-2', names: [] },
    { query: 'bootable=true', names: [] },
    { query: 'bootable=maybe', names: 400 },
    { query: 'bootable=maybe', names: [], minor: 0 },
    { query: 'size=2&sort=size:desc,name:asc', names: ['beta', 'gamma'] },
    { query: 'sort=size:asc,name:desc', names: ['alpha', 'gamma', 'beta'] },
    { query: 'sort_key=name&sort_dir=asc&limit=1&offset=1', names: ['beta'] },
    { query: 'sort=name&sort_dir=asc', names: 400 },
    { query: 'sort=color', names: 400 },
    { query: 'created_at=gt:2001-01-01T00:00:00,lt:2002-01-01T00:00:00', names: [] },
    { query: 'created_at=gte:2001-01-01T00:00:00', names: ['gamma', 'beta', 'alpha'] },
    { query: 'created_at=after:2001-01-01', names: 400 },
    { query: 'created_at=gt:2001-01-01,lt:2002-01-01', names: ['gamma', 'beta', 'alpha'], minor: 59 },
    { query: 'colour=red', names: [] },
    { query: `marker=${randomUUID()}`, names: 404 },
    { query: 'limit=-1', names: 400 },
  ])('by $query are $names', async ({ query, names, minor }) => {
    expect(await namesBy(query, minor)).toEqual(names);
  });

  it('go on behind a marker, whatever they are sorted by', async () => {
    const [alpha, beta] = made;
    expect(await namesBy(`sort=size:asc,name:desc&marker=${alpha?.id}`)).toEqual(['gamma', 'beta']);
    expect(await namesBy(`sort=size:desc,name:asc&marker=${beta?.id}`)).toEqual(['gamma', 'alpha']);
    const ids = made.map(({ id }) => id).sort();
    const { body } = await api.call(`GET /v3/${project}/volumes?sort=id:asc&marker=${ids[0]}`);
    expect(body.volumes.map(({ id }: { id: string }) => id)).toEqual(ids.slice(1));
  });

  it('are counted and summarized', async () => {
    const { body } = await api.call(`GET /v3/${project}/volumes?with_count=true&limit=1&size=2`);
    expect(body).toMatchObject({ count: 2, volumes: [{ name: 'gamma' }] });
    const summary = await api.call(`GET /v3/${project}/volumes/summary`);
    const metadata = { role: ['web'], it: ["it's"] };
    expect(summary.body).toEqual({ 'volume-summary': { total_count: 3, total_size: 5, metadata } });
    const before = await api.call(`GET /v3/${project}/volumes/summary`, undefined, { minor: 12 });
    expect(before.body).toEqual({ 'volume-summary': { total_count: 3, total_size: 5 } });
    const { body: all } = await api.call(`GET /v3/p0/volumes?all_tenants=1&project_id=${project}&with_count=1`);
    expect(all.count).toBe(3);
  });
});

describe('quotas of projects', () => {
  const project = randomUUID();
  const path = `/v3/p1/os-quota-sets/${project}`;

  it('are set, shown with what is used, kept where nothing uses them, and taken back', async () => {
    const kept = { backups: 11, backup_gigabytes: 1009, groups: 3 };
    const quotas = { volumes: 1, gigabytes: 3, per_volume_gigabytes: 2, snapshots: 5, ...kept };
    const set = await api.call(`PUT ${path}`, { quota_set: { ...quotas, tenant_id: project } });
    expect(set.body.quota_set).toEqual({
      ...quotas,
      volumes___DEFAULT__: -1,
      gigabytes___DEFAULT__: -1,
      snapshots___DEFAULT__: -1,
    });
    await create(project, { size: 2 });
    const { body } = await api.call(`GET ${path}?usage=True`);
    expect(body.quota_set).toMatchObject({
      id: project,
      volumes: { limit: 1, in_use: 1, reserved: 0 },
      gigabytes: { limit: 3, in_use: 2, reserved: 0 },
    });
    const { body: limits } = await api.call(`GET /v3/p1/limits?project_id=${project}`);
    expect(limits.limits.absolute).toMatchObject({ maxTotalVolumes: 1, totalGigabytesUsed: 2, maxTotalBackups: 11 });
    const second = await api.call(`POST /v3/${project}/volumes`, { volume: { size: 1 } });
    expect(second).toMatchObject({ status: 413, body: { overLimit: { code: 413 } } });
    expect(second.body.overLimit.message).toBe("Maximum number of volumes allowed (1) exceeded for quota 'volumes'.");
    await api.call(`PUT ${path}`, { quota_set: { volumes: -1 } });
    const large = await api.call(`POST /v3/${project}/volumes`, { volume: { size: 2 } });
    expect(large.body.overLimit.message).toBe(
      'Requested volume or snapshot exceeds allowed gigabytes quota. Requested 2G, quota is 3G and 2G has been consumed.',
    );
    expect((await api.call(`DELETE ${path}`)).status).toBe(200);
    const defaults = await api.call(`GET ${path}/defaults`);
    expect((await api.call(`GET ${path}`)).body).toEqual(defaults.body);
  });

  it.each([
    [{ quota_set: { volumes: -2 } }],
    [{ quota_set: { volumes: 'many' } }],
    [{ quota_set: {} }],
    [{ quota_set: { colours: 1 } }],
    [{}],
  ])('are refused as %j', async (body) => {
    expect(await api.call(`PUT ${path}`, body)).toMatchObject({ status: 400, body: { badRequest: { code: 400 } } });
  });
});

describe('what stands for the services of Cinder', () => {
  const get = async (path: string, minor?: number) => await api.call(`GET /v3/p1/${path}`, undefined, { minor });

  it('are the workers, and a pool a backend', async () => {
    const { backend } = flow.stack;
    const { body } = await get('os-services?binary=cinder-volume');
    const host = `${backend}@${backend}`;
    expect(body.services).toMatchObject([{ host, zone: 'zone-1', state: 'up', backend_state: 'up' }]);
    const pools = await get('scheduler-stats/get_pools?detail=True');
    const capabilities = { volume_backend_name: backend, vendor_name: 'Open Source', storage_protocol: 'file' };
    expect(pools.body.pools).toMatchObject([{ name: `${host}#${backend}`, capabilities }]);
    expect(pools.body.pools[0].capabilities.total_capacity_gb).toEqual(expect.any(Number));
    expect((await get(`capabilities/${host}`)).body).toMatchObject({ volume_backend_name: backend });
    expect((await get('capabilities/nowhere')).status).toBe(404);
    const { host: usage } = (await get(`os-hosts/${host}`)).body;
    const had = (name: string) => ({ resource: expect.objectContaining({ host, project: name }) });
    expect(usage[0]).toEqual(had('(total)'));
    const [total, ...ofProjects] = usage.map(({ resource }: { resource: { volume_count: string } }) =>
      Number(resource.volume_count),
    );
    expect(ofProjects.reduce((sum: number, count: number) => sum + count, 0)).toBe(total);
    expect((await get('os-hosts/nowhere')).status).toBe(404);
    const enable = async (service: object) => (await api.call('PUT /v3/p1/os-services/enable', service)).status;
    expect(await enable({ host, binary: 'cinder-volume' })).toBe(400);
    expect(await enable({ host: 'nowhere', binary: 'cinder-volume' })).toBe(404);
    expect(await enable({ host, binary: 'none' })).toBe(404);
    expect((await get('os-availability-zone')).body).toEqual({
      availabilityZoneInfo: [{ zoneName: 'zone-1', zoneState: { available: true } }],
    });
    expect((await get('extensions')).body.extensions).toContainEqual(expect.objectContaining({ name: 'Hosts' }));
    expect((await get('resource_filters?resource=pool')).body.resource_filters).toEqual([
      { resource: 'pool', filters: ['name', 'volume_type'] },
    ]);
  });

  it.each([
    ['backups', { backups: [] }],
    ['backups/detail', { backups: [] }],
    ['groups', { groups: [] }],
    ['group_types', { group_types: [] }],
    ['consistencygroups/detail', { consistencygroups: [] }],
    ['cgsnapshots', { cgsnapshots: [] }],
    ['qos-specs', { qos_specs: [] }],
    ['clusters', { clusters: [] }],
    ['manageable_volumes', { 'manageable-volumes': [] }],
  ])('%s there are none of', async (path, body) => {
    expect((await get(path)).body).toEqual(body);
    expect((await get(`${path.replace('/detail', '')}/${randomUUID()}`)).status).toBe(404);
  });

  it('make no backup', async () => {
    const answer = await api.call('POST /v3/p1/backups', { backup: { volume_id: randomUUID() } });
    expect(answer).toMatchObject({ status: 503, body: { serviceUnavailable: { code: 503 } } });
  });
});
