import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { choosePort } from '../../worker/ports';
import { MiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import { CephCluster } from '../support/ceph/cluster';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';
import { isSameGuest } from '../support/images/qemu';
import { createUndos } from '../support/machine/undos';
import { startApi, type TestApi } from '../support/stack/api';
import { flowsOf } from '../support/stack/flows';
import { startStack, type Stack } from '../support/stack/stack';

const START_TIMEOUT_MS = 300_000;
const UPLOAD_TIMEOUT_MS = 180_000;
const IMAGE_BYTES = 64 * MiB;
/** Of Glance’s administrator, for whom its store makes volumes. */
const PROJECT = 'operators';

describe('Glance’s own cinder store on the block-storage API', () => {
  const ceph = CephCluster.ofThisRun();
  const { after, run } = createUndos();
  let directory = '';
  let place: { pool: string; user: string; keyring: string };
  let glance: RealGlance;
  let running: Stack;
  let api: TestApi;
  const flow = flowsOf({ stack: () => running, directory: () => directory });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-cinder-store-'));
    after(() => rm(directory, { recursive: true, force: true }));
    place = await ceph.createPool();
    const { pool, user, keyring } = place;
    const port = await choosePort(0);
    glance = await startRealGlance({ cinder: { url: `http://127.0.0.1:${port}`, user, keyring } });
    after(() => glance.stop());
    const backends = { ceph: { driver: 'rbd', pool, conf: ceph.confPath, user } };
    const schedules = { refresh: 'off', reconcile: 'off', evict: 'off' };
    const backend = 'ceph' as BackendName;
    running = await startStack({ backend, imagesEndpoint: glance.endpoint, config: { backends, schedules } });
    after(() => running.stop());
    api = await startApi(running, { listen: `127.0.0.1:${port}` });
    after(() => api.stop());
  }, START_TIMEOUT_MS);
  afterAll(run);

  const volumes = async () => (await api.call(`GET /v3/${PROJECT}/volumes/detail`)).body.volumes;
  const diskOf = (image: string) => ({
    filename: `rbd:${place.pool}/${image}:id=${place.user}:conf=${ceph.confPath}`,
    format: 'raw' as const,
  });

  it(
    'keeps an image in a volume and serves it back; a volume of it is cloned there; with the image goes its volume',
    async () => {
      const bytes = randomBytes(IMAGE_BYTES);
      const record = { name: 'in a volume', disk_format: 'raw', container_format: 'bare', visibility: 'public' };
      const made = await glance.operate('/v2/images', { method: 'POST', body: JSON.stringify(record) });
      const { id } = (await made.json()) as { id: string };
      const headers = { 'content-type': 'application/octet-stream' };
      const uploaded = await glance.operate(`/v2/images/${id}/file`, { method: 'PUT', headers, body: bytes });
      expect({ status: uploaded.status, text: await uploaded.text() }).toEqual({ status: 204, text: '' });

      const [kept, ...others] = await volumes();
      expect(others).toEqual([]);
      expect(kept).toMatchObject({
        name: `image-${id}`,
        status: 'available',
        size: 1,
        metadata: { glance_image_id: id, image_size: String(IMAGE_BYTES), readonly: 'True' },
        attachments: [],
      });
      const served = await glance.operate(`/v2/images/${id}/file`);
      const hash = createHash('sha512').update(Buffer.from(await served.arrayBuffer()));
      expect([served.status, hash.digest('hex')]).toEqual([200, createHash('sha512').update(bytes).digest('hex')]);

      const image = await running.images.getImage(id);
      const volume = await flow.create(image);
      expect(volume).toMatchObject({
        outcome: 'miss',
        bytesDownloaded: 0,
        reason: expect.stringContaining('it was cloned from the image service’s store, and no byte was downloaded'),
      });
      expect(await glance.countDownloads(id)).toBe(0);
      const rawPath = join(directory, 'sent.raw');
      await writeFile(rawPath, bytes);
      const disk = diskOf(`volume-${volume.volumeId}`);
      expect(await isSameGuest(disk, { filename: rawPath, format: 'raw' })).toBe(true);

      expect((await glance.operate(`/v2/images/${id}`, { method: 'DELETE' })).status).toBe(204);
      await flow.until('the volume of the image to be gone', async () => (await volumes()).length === 0);
      expect((await ceph.rbd(['ls', place.pool])).split('\n')).not.toContain(`volume-${kept.id}`);
      expect(await isSameGuest(disk, { filename: rawPath, format: 'raw' })).toBe(true);
    },
    UPLOAD_TIMEOUT_MS,
  );

  it('is told how a host attaches a volume in the words of Cinder’s RBD driver', async () => {
    const made = await api.call('POST /v3/attached/volumes', { volume: { size: 1 } });
    const { id } = made.body.volume;
    const path = `/v3/attached/volumes/${id}`;
    await flow.until('the volume to be available', async () => {
      const { body } = await api.call(`GET ${path}`);
      return body.volume.status === 'available';
    });
    const asked = { 'os-initialize_connection': { connector: { host: 'h1' } } };
    const { body } = await api.call(`POST ${path}/action`, asked);
    const [host, port] = ceph.monAddress.split(':');
    // Source: `RBDDriver.initialize_connection`, and what `VolumeManager` adds to it.
    expect(body.connection_info).toEqual({
      driver_volume_type: 'rbd',
      data: {
        name: `${place.pool}/volume-${id}`,
        hosts: [host],
        ports: [port],
        cluster_name: 'ceph',
        auth_enabled: true,
        auth_username: place.user,
        secret_type: 'ceph',
        secret_uuid: null,
        volume_id: id,
        discard: true,
        qos_specs: null,
        access_mode: 'rw',
        encrypted: false,
        cacheable: false,
      },
    });
    expect((await api.call(`DELETE ${path}`)).status).toBe(202);
  });
});
