import { randomUUID } from 'node:crypto';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack({ otherBackends: ['beside'] });
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const makeType = async (name: string, more: object = {}) =>
  (await api.call('POST /v3/p1/types', { volume_type: { name, ...more } })).body.volume_type;
const makeVolume = async (volume_type: string) =>
  await api.call('POST /v3/p1/volumes', { volume: { size: 1, volume_type } });
const whenOf = async (project: string, id: string) =>
  await flow.until('the volume to be available', async () => {
    const { body } = await api.call(`GET /v3/${project}/volumes/${id}`);
    return body.volume.status === 'available' && body.volume;
  });
const whenAvailable = async (id: string) => await whenOf('p1', id);

describe('volume types', () => {
  it('are made, changed, listed and removed, each name once', async () => {
    const type = await makeType('fast', { description: 'of tests', extra_specs: { a: 'b' } });
    expect(type).toMatchObject({ name: 'fast', description: 'of tests', is_public: true, extra_specs: { a: 'b' } });
    expect((await api.call('POST /v3/p1/types', { volume_type: { name: 'fast' } })).status).toBe(409);
    const path = `/v3/p1/types/${type.id}`;
    const renamed = await api.call(`PUT ${path}`, { volume_type: { name: 'faster', is_public: false } });
    expect(renamed.body.volume_type).toMatchObject({ id: type.id, name: 'faster', is_public: false });
    const names = async (query: string) =>
      (await api.call(`GET /v3/p1/types${query}`)).body.volume_types.map(({ name }: { name: string }) => name);
    expect(await names('')).toEqual(['__DEFAULT__']);
    expect(await names('?is_public=None')).toEqual(['__DEFAULT__', 'faster']);
    expect((await api.call(`DELETE ${path}`)).status).toBe(202);
    expect((await api.call(`GET ${path}`)).status).toBe(404);
  });

  it('have extra specs, projects and an encryption of their own', async () => {
    const { id } = await makeType('detailed', { 'os-volume-type-access:is_public': false });
    const path = `/v3/p1/types/${id}`;
    const specs = { extra_specs: { one: '1', two: '2' } };
    expect((await api.call(`POST ${path}/extra_specs`, specs)).body).toEqual(specs);
    expect((await api.call(`PUT ${path}/extra_specs/one`, { one: '3' })).body).toEqual({ one: '3' });
    expect((await api.call(`PUT ${path}/extra_specs/one`, { two: '3' })).status).toBe(400);
    expect((await api.call(`DELETE ${path}/extra_specs/two`)).status).toBe(202);
    expect((await api.call(`GET ${path}/extra_specs`)).body).toEqual({ extra_specs: { one: '3' } });
    expect((await api.call(`GET ${path}/extra_specs/two`)).status).toBe(404);
    expect((await api.call(`POST ${path}/action`, { addProjectAccess: { project: 'p2' } })).status).toBe(202);
    expect((await api.call(`POST ${path}/action`, { addProjectAccess: { project: 'p2' } })).status).toBe(409);
    const access = await api.call(`GET ${path}/os-volume-type-access`);
    expect(access.body).toEqual({ volume_type_access: [{ volume_type_id: id, project_id: 'p2' }] });
    expect((await api.call(`POST ${path}/action`, { removeProjectAccess: { project: 'p2' } })).status).toBe(202);
    const encryption = { provider: 'luks', control_location: 'front-end', cipher: 'aes-xts-plain64', key_size: 256 };
    const made = await api.call(`POST ${path}/encryption`, { encryption });
    expect(made.body.encryption).toMatchObject({ ...encryption, volume_type_id: id });
    const { encryption_id: encryptionId } = made.body.encryption;
    await api.call(`PUT ${path}/encryption/${encryptionId}`, { encryption: { key_size: 128 } });
    expect((await api.call(`GET ${path}/encryption`)).body).toMatchObject({ ...encryption, key_size: 128 });
    // As clients in Go send what they do not set.
    const unset = { provider: '', control_location: 'back-end', cipher: '', key_size: 0 };
    expect(await api.call(`PUT ${path}/encryption/${encryptionId}`, { encryption: unset })).toMatchObject({
      status: 200,
      body: { encryption: unset },
    });
    expect((await api.call(`GET ${path}/encryption`)).body).toMatchObject(unset);
    await api.call(`PUT ${path}`, { volume_type: { is_public: true } });
    for (const action of ['addProjectAccess', 'removeProjectAccess'])
      expect((await api.call(`POST ${path}/action`, { [action]: { project: 'p2' } })).status).toBe(400);
    expect((await makeVolume('detailed')).status).toBe(400);
    expect((await api.call(`DELETE ${path}/encryption/${encryptionId}`)).status).toBe(202);
    expect((await api.call(`GET ${path}/encryption`)).body).toEqual({});
  });

  it('choose the backend of a volume, which has them by name and id until it goes', async () => {
    const type = await makeType('other', { extra_specs: { volume_backend_name: 'beside', multiattach: '<is> True' } });
    const { status, body } = await makeVolume('other');
    expect(status).toBe(202);
    const volume = await whenAvailable(body.volume.id);
    expect(volume).toMatchObject({ volume_type: 'other', volume_type_id: type.id, multiattach: true });
    expect(volume['os-vol-host-attr:host']).toContain('beside');
    expect((await api.call(`DELETE /v3/p1/types/${type.id}`)).status).toBe(400);
    await api.call(`PUT /v3/p1/types/${type.id}`, { volume_type: { name: 'renamed' } });
    const retype = (new_type: string) =>
      api.call(`POST /v3/p1/volumes/${volume.id}/action`, { 'os-retype': { new_type, migration_policy: 'never' } });
    const wide = await makeType('wide');
    expect((await retype('wide')).status).toBe(202);
    const { body: shown } = await api.call(`GET /v3/p1/volumes/${volume.id}`);
    expect(shown.volume).toMatchObject({ volume_type: 'wide', volume_type_id: wide.id, multiattach: false });
    await makeType('elsewhere', { extra_specs: { volume_backend_name: flow.stack.backend } });
    expect((await retype('elsewhere')).status).toBe(400);
    expect((await retype('wide')).status).toBe(400);
    expect((await retype('no-such-type')).status).toBe(404);
    expect((await retype('__DEFAULT__')).status).toBe(202);
    expect((await api.call(`GET /v3/p1/volumes/${volume.id}`)).body.volume).toMatchObject({
      volume_type: '__DEFAULT__',
      multiattach: false,
    });
    expect((await retype('__DEFAULT__')).status).toBe(400);
    expect((await api.call(`DELETE /v3/p1/types/${type.id}`)).status).toBe(202);
  });

  it('are the default of a project where one is said, and the image’s where it has one, each before the former', async () => {
    const [ofProject, ofImage] = [await makeType('of-project'), await makeType('of-image')];
    const path = '/v3/default-types/p3';
    expect((await api.call(`GET ${path}`)).status).toBe(404);
    expect((await api.call(`PUT ${path}`, { default_type: { volume_type: 'none' } })).status).toBe(400);
    const set = { default_type: { project_id: 'p3', volume_type_id: ofProject.id } };
    expect((await api.call(`PUT ${path}`, { default_type: { volume_type: 'of-project' } })).body).toEqual(set);
    expect((await api.call(`GET ${path}`)).body).toEqual(set);
    expect((await api.call('GET /v3/default-types')).body).toEqual({ default_types: [set.default_type] });
    expect((await api.call(`GET ${path}`, undefined, { minor: 61 })).status).toBe(404);
    expect((await api.call('GET /v3/p3/types/default')).body.volume_type).toMatchObject({ id: ofProject.id });
    expect((await api.call(`DELETE /v3/p3/types/${ofProject.id}`)).status).toBe(400);

    const sample = await makeSampleImage({ directory: flow.directory, name: 'typed' });
    const uploadOf = async (type: string) =>
      await uploadSample(flow.stack.images, sample, { properties: { cinder_img_volume_type: type } });
    const [typed, foreign] = [await uploadOf('of-image'), await uploadOf('of-nobody')];
    const { image: untyped } = await flow.upload('untyped');
    const create = async (volume: object) => await api.call('POST /v3/p3/volumes', { volume: { size: 1, ...volume } });
    const typeOf = async (volume: object) => (await create(volume)).body.volume.volume_type;
    expect(await typeOf({})).toBe('of-project');
    expect(await typeOf({ imageRef: untyped.id })).toBe('of-project');
    expect(await typeOf({ imageRef: typed.id })).toBe(ofImage.name);
    expect(await typeOf({ imageRef: typed.id, volume_type: 'of-project' })).toBe('of-project');
    expect(await typeOf({ imageRef: typed.id, volume_type: '__DEFAULT__' })).toBe('__DEFAULT__');
    expect((await create({ imageRef: foreign.id })).status).toBe(404);

    expect((await api.call(`DELETE ${path}`)).status).toBe(204);
    expect((await api.call(`DELETE ${path}`)).status).toBe(204);
    expect(await typeOf({ imageRef: untyped.id })).toBe('__DEFAULT__');
  });

  it('have quotas of their own, also in the class default, which count volumes, their bytes and snapshots', async () => {
    const { name } = await makeType('counted');
    const set = async (quota_set: object) => await api.call('PUT /v3/p1/os-quota-sets/p4', { quota_set });
    const make = async () => await api.call('POST /v3/p4/volumes', { volume: { size: 1, volume_type: 'counted' } });
    expect((await set({ volumes_of_nobody: 1 })).status).toBe(400);
    expect((await set({ [`volumes_${name}`]: 2, [`gigabytes_${name}`]: 2 })).body.quota_set).toMatchObject({
      volumes_counted: 2,
      gigabytes_counted: 2,
      snapshots_counted: -1,
    });
    // Two of three that ask at once, and no other type's.
    const made = await Promise.all([make(), make(), make()]);
    expect(made.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 202, 413]);
    const refused = made.find(({ status }) => status === 413);
    expect(refused?.body.overLimit.message).toBe(
      "Maximum number of volumes allowed (2) exceeded for quota 'volumes_counted'.",
    );
    const { id } = await whenOf('p4', made.find(({ status }) => status === 202)?.body.volume.id);
    const shown = async () => (await api.call('GET /v3/p1/os-quota-sets/p4?usage=true')).body.quota_set;
    expect(await shown()).toMatchObject({
      volumes_counted: { limit: 2, in_use: 2, reserved: 0 },
      gigabytes_counted: { limit: 2, in_use: 2 },
      volumes___DEFAULT__: { limit: -1, in_use: 0 },
    });
    expect((await set({ volumes_counted: 1 })).status).toBe(400);
    const extended = await api.call(`POST /v3/p4/volumes/${id}/action`, { 'os-extend': { new_size: 2 } });
    expect(extended.body.overLimit.message).toContain('gigabytes_counted quota');
    const { body } = await api.call('POST /v3/p4/volumes', { volume: { size: 1 } });
    const other = await whenOf('p4', body.volume.id);
    const retype = { 'os-retype': { new_type: 'counted', migration_policy: 'never' } };
    expect((await api.call(`POST /v3/p4/volumes/${other.id}/action`, retype)).status).toBe(413);

    const ofClass = async (quota_class_set: object) =>
      (await api.call('PUT /v3/p1/os-quota-class-sets/default', { quota_class_set })).body.quota_class_set;
    expect(await ofClass({ snapshots_counted: 0, backups: 7 })).toMatchObject({ snapshots_counted: 0, backups: 7 });
    expect(await shown()).toMatchObject({ snapshots_counted: { limit: 0 }, backups: { limit: 7 } });
    const snapshot = async () => await api.call('POST /v3/p4/snapshots', { snapshot: { volume_id: id } });
    expect((await snapshot()).status).toBe(413);
    // A type takes its quotas along when it is renamed.
    const types = (await api.call('GET /v3/p1/types')).body.volume_types;
    const { id: typeId } = types.find((type: { name: string }) => type.name === 'counted');
    await api.call(`PUT /v3/p1/types/${typeId}`, { volume_type: { name: 'recounted' } });
    expect(await shown()).toMatchObject({
      volumes_recounted: { limit: 2, in_use: 2 },
      snapshots_recounted: { limit: 0 },
    });
    await ofClass({ snapshots_recounted: -1 });
    expect((await snapshot()).body.overLimit.message).toContain('gigabytes_recounted quota');
    expect((await set({ gigabytes_recounted: 3 })).status).toBe(200);
    expect((await snapshot()).status).toBe(202);
    expect((await api.call('DELETE /v3/p1/os-quota-sets/p4')).status).toBe(200);
    expect(await shown()).toMatchObject({ volumes_recounted: { limit: -1, in_use: 2 } });
    const others = (await api.call('GET /v3/p1/os-quota-class-sets/others')).body.quota_class_set;
    expect(others).toMatchObject({ id: 'others', backups: 7, volumes: -1 });
  });

  it('leave a volume in error where no backend has what they ask for, and are refused where there is none', async () => {
    await makeType('nowhere', { extra_specs: { volume_backend_name: 'of-nobody' } });
    const { status, body } = await makeVolume('nowhere');
    expect(status).toBe(202);
    await flow.until('the volume to be in error', async () => {
      return (await api.call(`GET /v3/p1/volumes/${body.volume.id}`)).body.volume.status === 'error';
    });
    expect((await makeVolume(randomUUID())).status).toBe(404);
    expect((await makeVolume('__DEFAULT__')).body.volume).toMatchObject({ volume_type: '__DEFAULT__' });
  });
});
