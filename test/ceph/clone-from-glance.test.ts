import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import { reconcile } from '../../client/reconcile';
import { uploadVolume } from '../../client/uploads';
import { changeVolume, createVolume, deleteVolume } from '../../client/volumes';
import { findStoredVolume } from '../../activities/transfer/stored-volume';
import { CephCluster } from '../support/ceph/cluster';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';
import { isSameGuest, readGuest, writeAsGuest, type QemuDisk } from '../support/images/qemu';
import { makeSigner, sign, type Signer } from '../support/images/signers';
import { uploadSample, type SampleImage } from '../support/images/sample-image';
import { flowsOf, type UploadedImage } from '../support/stack/flows';
import { startHerd } from '../support/stack/herd';
import { startStack, type Stack } from '../support/stack/stack';

jest.setTimeout(300_000);

const HERD = 16;
/** Reading it takes long enough that a worker can be killed meanwhile. */
const large = { diskFormat: 'raw', virtualBytes: 768 * MiB, dataBytes: 384 * MiB } as const;
const cloned = 'it was cloned from the image service’s store, and no byte was downloaded';

describe('a worker whose pool of Ceph is in the cluster of Glance’s store', () => {
  const ceph = CephCluster.ofThisRun();
  const [backend, blind] = ['ceph', 'blind'] as BackendName[];
  const namespaces: Record<string, string> = {};
  let directory = '';
  let glance: RealGlance;
  let running: Stack;
  let signer: Signer;
  const flow = flowsOf({ stack: () => running, directory: () => directory });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-clone-glance-'));
    glance = await startRealGlance({ ceph });
    for (const name of [backend, blind]) namespaces[name ?? ''] = await ceph.createNamespace();
    // It may use its own namespace, and no image of Glance's.
    await ceph.createUser('blind', {
      mon: 'profile rbd',
      osd: `profile rbd pool=volumes namespace=${namespaces['blind']}`,
      mgr: 'profile rbd pool=volumes',
    });
    const backends = Object.fromEntries(
      Object.entries({ ceph: 'cinder', blind: 'blind' }).map(([name, user]) => [
        name,
        { driver: 'rbd', pool: 'volumes', namespace: namespaces[name], conf: ceph.confPath, user },
      ]),
    );
    const schedules = { refresh: 'off', reconcile: 'off', evict: 'off', scrubRate: '500MiB' };
    signer = makeSigner({ directory, name: 'signer', keyType: 'RSA-PSS' });
    const signatures = { require: 'when-present', certificates: { [signer.id]: signer.certificate } };
    const config = { backends, schedules, policy: { signatures } };
    running = await startStack({ backend, imagesEndpoint: glance.endpoint, config });
  });
  afterAll(async () => {
    await running.stop();
    await glance.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const diskOf = ({ connection }: CreateVolumeResult): QemuDisk => {
    const { namespace = '', image = '' } = connection.driver === 'rbd' ? connection : {};
    return { filename: `rbd:volumes/${namespace}/${image}:id=cinder:conf=${ceph.confPath}`, format: 'raw' };
  };
  const isGuestOf = async ({ rawPath }: SampleImage, volume: CreateVolumeResult): Promise<boolean> =>
    await isSameGuest(diskOf(volume), { filename: rawPath, format: 'raw' });
  const objects = async (): Promise<string[]> =>
    (await ceph.rbd(['ls', `volumes/${namespaces['ceph']}`])).split('\n').filter((line) => line !== '');
  const parentOf = async (image: Image): Promise<unknown> => {
    const [entry] = await flow.entriesOf(image);
    const name = entry?.imageVolume.replace(/^image-volume-/, 'image-') ?? '';
    const text = await ceph.rbd(['info', '--format', 'json', `volumes/${namespaces['ceph']}/${name}`]);
    return (JSON.parse(text) as { parent?: unknown }).parent;
  };
  const uploadBytes = async (name: string, bytes: Buffer): Promise<UploadedImage> => {
    const rawPath = join(directory, `${name}.raw`);
    await writeFile(rawPath, bytes);
    const sample: SampleImage = { path: rawPath, rawPath, diskFormat: 'raw', virtualBytes: bytes.length };
    return { sample, image: await uploadSample(running.images, sample) };
  };
  const decisionOf = async ({ volumeId }: CreateVolumeResult) => {
    const [decision] = await running.inventory.decisions(volumeId);
    return decision;
  };

  it('uploads a volume as it is, and caches that by a copy which needs the volume no more', async () => {
    const { image } = await flow.upload('to-upload', { diskFormat: 'raw' });
    const volume = await flow.create(image);
    await writeAsGuest(diskOf(volume), { offset: 2 * MiB, bytes: MiB });
    const hits: CreateVolumeResult[] = [];
    for (const diskFormat of ['raw', 'qcow2'] as const) {
      const request = { volumeId: volume.volumeId, diskFormat, seedCache: true };
      const { imageId, result } = await uploadVolume(running.cache, request, { wait: true });
      expect(result.seeded).toMatchObject({ outcome: 'populated', bytesDownloaded: 0 });
      const made = await running.images.getImage(imageId);
      const hit = await flow.create(made);
      expect(hit).toMatchObject({ outcome: 'hit' });
      expect(await isSameGuest(diskOf(volume), diskOf(hit))).toBe(true);
      expect(await parentOf(made)).toBeUndefined();
      hits.push(hit);
    }
    await deleteVolume(running.cache, volume.volumeId);
    for (const hit of hits) expect(await readGuest(diskOf(hit))).toMatchObject({ sizeBytes: 1024 * MiB });
  });

  it('clones a raw image across the pools, and downloads no byte', async () => {
    const { image, sample } = await flow.upload('raw', { diskFormat: 'raw' });
    const miss = await flow.create(image);
    expect(miss).toMatchObject({ outcome: 'miss', bytesDownloaded: 0, reason: expect.stringContaining(cloned) });
    expect(await decisionOf(miss)).toMatchObject({ bytesDownloaded: 0, reason: expect.stringContaining(cloned) });
    expect(await parentOf(image)).toMatchObject({ pool: 'images', image: image.id, snapshot: 'snap' });
    expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
    expect(await isGuestOf(sample, miss)).toBe(true);
    expect(await glance.countDownloads(image.id)).toBe(0);
  });

  it('verifies a signature over the bytes that are in Ceph, and clones no others', async () => {
    const bytes = randomBytes(9 * MiB + 100);
    const signed = async (name: string, content: Buffer): Promise<UploadedImage> => {
      const { image, sample } = await uploadBytes(name, content);
      const properties = Object.entries(sign(signer, bytes));
      const answer = await fetch(`${glance.endpoint}/v2/images/${image.id}`, {
        method: 'PATCH',
        headers: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
        body: JSON.stringify(properties.map(([key, value]) => ({ op: 'add', path: `/${key}`, value }))),
      });
      expect(answer.status).toBe(200);
      return { image: await running.images.getImage(image.id), sample };
    };
    const good = await signed('signed', bytes);
    const volume = await flow.create(good.image);
    expect(volume.reason).toContain(cloned);
    expect(await isGuestOf(good.sample, volume)).toBe(true);
    const before = await objects();
    const bad = await signed('badly-signed', randomBytes(MiB));
    const details = expect.objectContaining({ rule: 'signature', bytesVerified: true });
    await expect(flow.create(bad.image)).rejects.toMatchObject({ type: 'ImageRefused', details });
    expect(await objects()).toEqual(before);
    for (const { image } of [good, bad]) expect(await glance.countDownloads(image.id)).toBe(0);
  });

  it('clones an image whose last sector is not whole', async () => {
    const { image, sample } = await uploadBytes('odd', randomBytes(9 * MiB + 100));
    const volume = await flow.create(image);
    expect(volume.reason).toContain(cloned);
    expect(await isGuestOf(sample, volume)).toBe(true);
  });

  it('gives a herd its volumes by one clone though it is killed in the middle, and leaves nothing else', async () => {
    const before = await objects();
    const killed = running.workers[0];
    const herd = await startHerd(flow, [{ creates: HERD, ...large }]);
    await flow.until('an attempt at the image-volume', async () =>
      (await objects()).some((name) => name.endsWith('.partial')),
    );
    await killed?.stop('SIGKILL');
    await running.startWorker();
    const [member] = herd.members;
    if (member === undefined) throw new Error('the herd is empty');
    const { image, sample } = member.upload;
    const made = await Promise.all(member.creates.map(async ({ result }) => await result()));
    expect(new Set(made.map(({ volumeId }) => volumeId)).size).toBe(HERD);
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', generation: 1, clones: HERD }]);
    const [entry] = await flow.entriesOf(image);
    const imageVolume = entry?.imageVolume.replace(/^image-volume-/, 'image-');
    const volumes = made.map(({ volumeId }) => `volume-${volumeId}`);
    expect(new Set(await objects())).toEqual(new Set([...before, imageVolume, ...volumes]));
    for (const volume of made.slice(0, 3)) expect(await isGuestOf(sample, volume)).toBe(true);
    expect(await glance.countDownloads(image.id)).toBe(0);
    expect(made.reduce((sum, { bytesDownloaded }) => sum + bytesDownloaded, 0)).toBe(0);
  });

  it('clones an image that the cinder store keeps in a volume of ours, and nothing that is no such volume', async () => {
    const { volumeId } = await createVolume(running.cache, { backend, sizeBytes: 16 * MiB });
    const disk = `volumes/${namespaces['ceph']}/volume-${volumeId}`;
    const written: QemuDisk = {
      filename: `rbd:${disk}:id=cinder:conf=${ceph.confPath}`,
      format: 'raw',
    };
    await writeAsGuest(written, { offset: 2 * MiB, bytes: MiB });
    const exported = join(directory, 'exported');
    await ceph.rbd(['export', '--no-progress', disk, exported]);
    const { image, sample } = await uploadBytes('in-a-volume', (await readFile(exported)).subarray(0, 4 * MiB + 512));
    await glance.relocate(image.id, `cinder://cinder/${volumeId}`);
    const metadata = { glance_image_id: image.id, image_size: String(4 * MiB + 512) };
    const setReadOnly = async (readOnly: boolean): Promise<unknown> =>
      await running.database.sql`update volumes set read_only = ${readOnly} where id = ${volumeId}`;
    const input = {
      image,
      sizeBytes: 4 * MiB + 512,
      backend: { name: backend as BackendName, cloneStoredVolume: jest.fn() },
    };
    const locations = await running.images.listLocations(image.id);
    expect(locations).toEqual([`cinder://cinder/${volumeId}`]);
    const find = async () => await findStoredVolume(running, { ...input, locations });
    await setReadOnly(true);
    expect(await find()).toBeUndefined();
    await changeVolume(running.cache, volumeId, { metadata });
    expect(await find()).toMatchObject({ id: volumeId });
    await setReadOnly(false);
    expect(await find()).toBeUndefined();
    await setReadOnly(true);

    const volume = await flow.create(image);
    expect(volume).toMatchObject({ outcome: 'miss', bytesDownloaded: 0, reason: expect.stringContaining(cloned) });
    expect(await parentOf(image)).toMatchObject({ image: `volume-${volumeId}` });
    expect(await isGuestOf(sample, volume)).toBe(true);
    expect(await ceph.rbd(['snap', 'ls', disk])).toBe('');
    expect(await glance.countDownloads(image.id)).toBe(0);
    await deleteVolume(running.cache, volumeId);
    expect(await isGuestOf(sample, volume)).toBe(true);
  });

  it('makes what it cloned independent, so that the image can be deleted', async () => {
    const { image, sample } = await flow.upload('deleted', { diskFormat: 'raw' });
    const volume = await flow.create(image);
    const deleteImage = async (): Promise<number> =>
      (await fetch(`${glance.endpoint}/v2/images/${image.id}`, { method: 'DELETE' })).status;
    // Glance answers 409 where its user may list the children of its images in the pool of the volumes, else 500.
    expect([409, 500]).toContain(await deleteImage());
    await reconcile(running.cache, { backend }, { wait: true });
    expect(await parentOf(image)).toBeUndefined();
    expect(await deleteImage()).toBe(204);
    expect(await isGuestOf(sample, volume)).toBe(true);
    const [entry] = await flow.entriesOf(image);
    expect(entry).toMatchObject({ digest: expect.any(String), realBytes: expect.any(Number) });
    expect(entry?.realBytes).toBeGreaterThan(0);
  });

  it('downloads what is not in Ceph, and says so', async () => {
    const bytes = randomBytes(MiB);
    const { id } = await running.images.createImage({ name: 'file', diskFormat: 'raw', containerFormat: 'bare' });
    const headers = { 'content-type': 'application/octet-stream', 'x-image-meta-store': 'files' };
    await fetch(`${glance.endpoint}/v2/images/${id}/file`, { method: 'PUT', headers, body: bytes });
    const volume = await flow.create(await running.images.getImage(id));
    const reason = 'it was downloaded, not cloned: the image service does not keep it in Ceph';
    expect(volume).toMatchObject({ bytesDownloaded: MiB, reason: expect.stringContaining(reason) });
  });

  it('downloads where its user may not read the image’s pool', async () => {
    const { image } = await uploadBytes('forbidden', randomBytes(MiB));
    const volume = await flow.create(image, { backend: blind });
    const reason = 'it was downloaded, not cloned: client.blind may not read pool images';
    expect(volume).toMatchObject({ bytesDownloaded: MiB, reason: expect.stringContaining(reason) });
  });

  it('never clones what a record names that is not the image itself', async () => {
    const { image: other } = await uploadBytes('other', randomBytes(MiB));
    const { id } = await running.images.createImage({ name: 'thief', diskFormat: 'raw', containerFormat: 'bare' });
    const [url] = await running.images.listLocations(other.id);
    const patch = [{ op: 'add', path: '/locations/-', value: { url, metadata: {} } }];
    const { checksum, hashAlgorithm, hashValue } = other;
    const validation = { checksum, os_hash_algo: hashAlgorithm, os_hash_value: `${hashValue?.slice(0, -2)}00` };
    Object.assign(patch[0]?.value ?? {}, { validation_data: validation });
    const answer = await fetch(`${glance.endpoint}/v2/images/${id}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
      body: JSON.stringify(patch),
    });
    expect(answer.status).toBe(200);
    const before = await objects();
    await expect(flow.create(await running.images.getImage(id))).rejects.toThrow(/hash/);
    expect(await glance.countDownloads(id)).toBeGreaterThan(0);
    expect(await objects()).toEqual(before);
  });

  it('refuses a disguised image by the bytes that are in Ceph', async () => {
    const { sample } = await flow.upload('disguised', { diskFormat: 'qcow2' });
    const { image } = await uploadBytes('disguise', await readFile(sample.path));
    const before = await objects();
    await expect(flow.create(image)).rejects.toThrow(/qcow2/);
    expect(await objects()).toEqual(before);
    expect(await glance.countDownloads(image.id)).toBe(0);
  });

  it('takes nothing that does not have the hash of its record', async () => {
    const { image } = await uploadBytes('changed', randomBytes(4 * MiB));
    const inImages = `images/${image.id}`;
    await ceph.rbd(['snap', 'unprotect', `${inImages}@snap`]);
    await ceph.rbd(['snap', 'rm', `${inImages}@snap`]);
    await ceph.rbd(['rm', '--no-progress', inImages]);
    const forged = join(directory, 'forged');
    await writeFile(forged, randomBytes(4 * MiB));
    await ceph.rbd(['import', '--no-progress', forged, inImages]);
    await ceph.rbd(['snap', 'create', `${inImages}@snap`]);
    const before = await objects();
    await expect(flow.create(image)).rejects.toThrow(/hash/);
    expect(await objects()).toEqual(before);
  });
});
