import { openClient, type ImageVolumeCache } from '../../client/connection';
import { waitFor } from '../../worker/stack/wait';
import { logInToCloud, type CloudUser } from '../support/openstack/cloud-user';
import { getNovaCloud } from '../support/openstack/nova-cloud';

const SETTLE_TIMEOUT_MS = 240_000;
const POLL_MS = 400;

const cloud = getNovaCloud();
let user: CloudUser;
let cache: ImageVolumeCache;
let firstVolumeId: string;
/** Those that a test has not deleted. */
const servers = new Set<string>();

beforeAll(async () => {
  user = await logInToCloud(cloud, cloud.member);
  cache = openClient({ config: cloud.configPath });
  // From here on the image is cached.
  firstVolumeId = await newVolume({ imageRef: cloud.imageId });
}, SETTLE_TIMEOUT_MS);
afterAll(() => cache.close());

afterEach(async () => {
  for (const id of servers) await deleteServer(id);
  await expectNoAttachments();
}, SETTLE_TIMEOUT_MS);

describe('a server of Nova', () => {
  it('boots from a volume that is there, which is in use until the server is deleted, and stays', async () => {
    const volumeId = await newVolume({ imageRef: cloud.imageId });
    expect([await outcomeOf(firstVolumeId), await outcomeOf(volumeId)]).toEqual(['miss', 'hit']);
    const server = await boot({ uuid: volumeId, source_type: 'volume', delete_on_termination: false });
    expect(server).toMatchObject({ status: 'ACTIVE', rootId: volumeId });
    const volume = await volumeOf(volumeId);
    expect(volume).toMatchObject({ status: 'in-use', attachments: [{ server_id: server.id, device: '/dev/sda' }] });
    await deleteServer(server.id);
    expect(await volumeOf(volumeId)).toMatchObject({ status: 'available', attachments: [] });
  });

  it('boots from an image into a volume, a clone of the cached image, which is deleted with it', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    expect(server.status).toBe('ACTIVE');
    expect(await volumeOf(server.rootId)).toMatchObject({
      status: 'in-use',
      size: 1,
      bootable: 'true',
      volume_image_metadata: { image_id: cloud.imageId },
    });
    expect(await outcomeOf(server.rootId)).toBe('hit');
    await deleteServer(server.id);
    await until(
      'the volume to be gone',
      async () => (await user.volumes(`GET /volumes/${server.rootId}`)).status === 404,
    );
  });

  it('boots from an image into a volume that outlives it', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: false });
    await deleteServer(server.id);
    expect(await volumeOf(server.rootId)).toMatchObject({ status: 'available', attachments: [] });
  });

  it('attaches a volume and detaches it', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    const volumeId = await newVolume();
    await attach(server.id, volumeId);
    const { attachments } = await volumeOf(volumeId);
    expect(attachments).toMatchObject([{ server_id: server.id, device: '/dev/sdb' }]);
    const [{ attachment_id }] = attachments;
    const { body } = await user.volumes(`GET /attachments/${attachment_id}`);
    expect(body.attachment).toMatchObject({ status: 'attached', instance: server.id, attach_mode: 'rw' });

    const detached = await user.compute(`DELETE /servers/${server.id}/os-volume_attachments/${volumeId}`);
    expect(detached.status).toBe(202);
    await until('the volume to be available', async () => (await volumeOf(volumeId)).status === 'available');
    expect((await volumeOf(volumeId)).attachments).toEqual([]);
    await deleteServer(server.id);
  });

  it('gives its volumes back when it is deleted, and has deleted with it those that are to be', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    const [kept, ended] = [await newVolume(), await newVolume()];
    await attach(server.id, kept);
    await attach(server.id, ended, { delete_on_termination: true });
    await deleteServer(server.id);
    expect(await volumeOf(kept)).toMatchObject({ status: 'available', attachments: [] });
    await until('the other to be gone', async () => (await user.volumes(`GET /volumes/${ended}`)).status === 404);
  });

  it('takes no volume that another has', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    const other = await boot({ ...ofImage, delete_on_termination: true });
    const volumeId = await newVolume();
    await attach(server.id, volumeId);
    const body = { volumeAttachment: { volumeId } };
    expect((await user.compute(`POST /servers/${other.id}/os-volume_attachments`, body)).status).toBe(400);
    expect(await volumeOf(volumeId)).toMatchObject({ status: 'in-use', attachments: [{ server_id: server.id }] });
    await Promise.all([deleteServer(server.id), deleteServer(other.id)]);
  });

  it('has attachments that its user cannot end behind its back', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    const [{ attachment_id }] = (await volumeOf(server.rootId)).attachments;
    expect((await user.volumes(`DELETE /attachments/${attachment_id}`)).status).toBe(409);
    expect((await user.volumes(`POST /volumes/${server.rootId}/action`, { 'os-detach': {} })).status).toBe(409);
    expect((await user.volumes(`DELETE /volumes/${server.rootId}`)).status).toBe(400);
    expect((await volumeOf(server.rootId)).status).toBe('in-use');
    await deleteServer(server.id);
  });

  it('is rebuilt with another image, whose bytes its volume has then', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    const [before] = (await volumeOf(server.rootId)).attachments;
    const asked = await user.compute(`POST /servers/${server.id}/action`, {
      rebuild: { imageRef: cloud.otherImageId },
    });
    expect(asked.status).toBe(202);
    expect(await settledServer(server.id)).toMatchObject({ status: 'ACTIVE', rootId: server.rootId });
    const volume = await volumeOf(server.rootId);
    expect(volume).toMatchObject({
      status: 'in-use',
      attachments: [{ server_id: server.id }],
      volume_image_metadata: { image_id: cloud.otherImageId },
    });
    expect(volume.attachments).toHaveLength(1);
    expect(volume.attachments[0].attachment_id).not.toBe(before.attachment_id);
    // The other image is cached by now, from this one on.
    expect(await outcomeOf(await newVolume({ imageRef: cloud.otherImageId }))).toBe('hit');
  });

  it('is told when its volume has grown', async () => {
    const server = await boot({ ...ofImage, delete_on_termination: true });
    const extended = await user.volumes(`POST /volumes/${server.rootId}/action`, { 'os-extend': { new_size: 2 } });
    expect(extended.status).toBe(202);
    await until('Nova to have been told', async () => {
      const { body } = await user.compute(`GET /servers/${server.id}/os-instance-actions`);
      return body.instanceActions.some(({ action }: { action: string }) => action === 'extend_volume');
    });
    expect(await volumeOf(server.rootId)).toMatchObject({ status: 'in-use', size: 2 });
  });
});

const ofImage = { uuid: cloud.imageId, source_type: 'image', volume_size: 1 };

async function boot(root: object): Promise<{ id: string; status: string; rootId: string }> {
  const disk = { boot_index: 0, destination_type: 'volume', ...root };
  const request = { name: 'server', flavorRef: cloud.flavorId, networks: 'none', block_device_mapping_v2: [disk] };
  const { body } = await user.compute('POST /servers', { server: request });
  servers.add(body.server.id);
  return await settledServer(body.server.id);
}

/** Waits until Nova does nothing more with it. */
async function settledServer(id: string): Promise<{ id: string; status: string; rootId: string }> {
  const server = await until('the server to settle', async () => {
    const { body } = await user.compute(`GET /servers/${id}`);
    return body.server['OS-EXT-STS:task_state'] === null && body.server.status !== 'BUILD' && body.server;
  });
  if (server.status === 'ERROR') throw new Error(`server ${id} is in error: ${JSON.stringify(server.fault)}`);
  const [root] = server['os-extended-volumes:volumes_attached'];
  return { id, status: server.status, rootId: root.id };
}

async function deleteServer(id: string): Promise<void> {
  servers.delete(id);
  expect((await user.compute(`DELETE /servers/${id}`)).status).toBe(204);
  await until('the server to be gone', async () => (await user.compute(`GET /servers/${id}`)).status === 404);
}

/** An attachment of a volume to a server ends with the server. */
async function expectNoAttachments(): Promise<void> {
  const { body } = await user.volumes('GET /attachments/detail');
  expect(body).toEqual({ attachments: [] });
}

async function newVolume(more: object = {}): Promise<string> {
  const { body } = await user.volumes('POST /volumes', { volume: { size: 1, ...more } });
  const { id } = body.volume;
  await until('the volume to be available', async () => (await volumeOf(id)).status === 'available');
  return id;
}

const volumeOf = async (id: string) => (await user.volumes(`GET /volumes/${id}`)).body.volume;

/** Whether the volume was a clone of what the cache had. */
async function outcomeOf(volumeId: string): Promise<string | null | undefined> {
  const inventory = await cache.inventory();
  const [volume] = await inventory.readVolumes([volumeId as never]);
  return volume?.outcome;
}

async function attach(serverId: string, volumeId: string, more: object = {}): Promise<void> {
  const body = { volumeAttachment: { volumeId, ...more } };
  const { status } = await user.compute(`POST /servers/${serverId}/os-volume_attachments`, body);
  expect(status).toBe(200);
  await until('the volume to be in use', async () => (await volumeOf(volumeId)).status === 'in-use');
}

async function until<Found>(what: string, find: () => Promise<Found>): Promise<NonNullable<Found>> {
  const check = async () => (await find()) || undefined;
  return await waitFor(check, { what, deadlineMs: SETTLE_TIMEOUT_MS, intervalMs: POLL_MS });
}
