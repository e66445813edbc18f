import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheKeyOf } from '../../activities/kit/cache-key';
import type { Database } from '../../db/client';
import { beginReimage } from '../../db/reimage-admission';
import { beginInPlace } from '../../db/reimages';
import { MiB } from '../../workflows/contract/bytes';
import type { BackendName, ContentId, VolumeId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import { reconcile } from '../../client/reconcile';
import { shareSnapshot, unshareSnapshot } from '../../client/share-snapshots';
import { createSnapshot, deleteSnapshot } from '../../client/snapshots';
import { uploadVolume, type UploadRequest } from '../../client/uploads';
import { getVolume } from '../../client/reads';
import { createVolume, deleteVolume, reimageVolume } from '../../client/volumes';
import { brand } from '../support/brand';
import { CephCluster } from '../support/ceph/cluster';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';
import { isSameGuest, readGuest, writeAsGuest, type QemuDisk } from '../support/images/qemu';
import { flowsOf } from '../support/stack/flows';
import { startStack, type Stack } from '../support/stack/stack';

jest.setTimeout(300_000);

/** `IVC_TEST_GLANCE=pypi`: Glance's newest release, which takes locations by the call that API 2.17 has for services, in place of Debian's. */
const ofPyPI = process.env['IVC_TEST_GLANCE'] === 'pypi';

const both = 'profile rbd pool=volumes, profile rbd pool=images';
const inBothPools = { mon: 'profile rbd', osd: both, mgr: both };

/** A Glance whose own user may read the volumes, and one whose may not. */
describe.each([
  { cephUser: 'glance-of-both', reads: 'the volume' },
  { cephUser: 'glance', reads: 'bytes of its own' },
])('an upload where Glance is client.$cephUser', ({ cephUser, reads }) => {
  const ceph = CephCluster.ofThisRun();
  const [backend, readOnly] = ['ceph', 'readonly'] as BackendName[];
  let namespace = '';
  let directory = '';
  let glance: RealGlance;
  let running: Stack;
  const flow = flowsOf({ stack: () => running, directory: () => directory });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-pointer-'));
    for (const user of ['glance-of-both', 'pointing']) await ceph.createUser(user, inBothPools);
    glance = await startRealGlance({ ceph, cephUser, ofPyPI });
    namespace = await ceph.createNamespace();
    const place = { driver: 'rbd', pool: 'volumes', conf: ceph.confPath };
    const backends = {
      ceph: { ...place, namespace, user: 'pointing' },
      readonly: { ...place, namespace: await ceph.createNamespace(), user: 'cinder' },
    };
    const schedules = { refresh: 'off', reconcile: 'off', evict: 'off', grace: '0s', scrubRate: '500MiB' };
    running = await startStack({ backend, imagesEndpoint: glance.endpoint, config: { backends, schedules } });
  });
  afterAll(async () => {
    await running.stop();
    await glance.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const diskOf = ({ connection }: CreateVolumeResult): QemuDisk => {
    const { namespace: of = '', image = '' } = connection.driver === 'rbd' ? connection : {};
    return { filename: `rbd:volumes/${of}/${image}:id=cinder:conf=${ceph.confPath}`, format: 'raw' };
  };
  const listed = async (place: string): Promise<string[]> =>
    (await ceph.rbd(['ls', place])).split('\n').filter((line) => line !== '');
  const trashed = async (): Promise<unknown[]> =>
    JSON.parse(await ceph.rbd(['trash', 'ls', '--format', 'json', `volumes/${namespace}`])) as unknown[];
  const parentOf = async (imageId: string): Promise<object | undefined> => {
    const text = await ceph.rbd(['info', '--format', 'json', `images/${imageId}`]);
    const { parent } = JSON.parse(text) as { parent?: { pool: string; pool_namespace: string; image: string } };
    return parent && { pool: parent.pool, pool_namespace: parent.pool_namespace, image: parent.image };
  };
  const written = async (name: string, input: { backend?: BackendName } = {}): Promise<CreateVolumeResult> => {
    const { image } = await flow.upload(name, { diskFormat: 'raw' });
    const volume = await flow.create(image, input);
    await writeAsGuest(diskOf(volume), { offset: 2 * MiB, bytes: MiB });
    return volume;
  };
  const upload = async (volume: CreateVolumeResult, input: Omit<UploadRequest, 'volumeId'> = {}) =>
    await uploadVolume(running.cache, { volumeId: volume.volumeId, ...input }, { wait: true });
  const deleteImage = async (imageId: string): Promise<number> =>
    (await fetch(`${glance.endpoint}/v2/images/${imageId}`, { method: 'DELETE' })).status;

  it(`is a clone that reads ${reads}, and a create from it downloads nothing`, async () => {
    const volume = await written('pointed');
    const { imageId, result } = await upload(volume);
    expect(result).toMatchObject({ transfer: 'pointer', imageBytes: volume.sizeBytes, hashAlgorithm: 'sha512' });
    const parent = { pool: 'volumes', pool_namespace: namespace, image: `volume-${volume.volumeId}` };
    expect(await parentOf(imageId)).toEqual(reads === 'the volume' ? parent : undefined);
    const image = await running.images.getImage(imageId);
    const before = await flow.create(image);
    expect(before).toMatchObject({ outcome: 'miss', bytesDownloaded: 0 });
    expect(await isSameGuest(diskOf(volume), diskOf(before))).toBe(true);
    await writeAsGuest(diskOf(volume), { offset: 8 * MiB, bytes: MiB, pattern: 0x11 });
    const after = await flow.create(image);
    expect(await isSameGuest(diskOf(before), diskOf(after))).toBe(true);
    expect(await isSameGuest(diskOf(volume), diskOf(after))).toBe(false);
    expect([await glance.countUploads(imageId), await glance.countDownloads(imageId)]).toEqual([0, 0]);
  });

  it('is told twice, when the first answer was lost', async () => {
    const { imageId, result } = await upload(await written('told-twice'));
    const [url = ''] = await running.images.listLocations(imageId);
    const { hashAlgorithm, hashValue } = result;
    const { signal } = new AbortController();
    expect(await running.images.addLocation({ imageId, url, hashAlgorithm, hashValue, signal })).toBe('added');
  });

  it('outlives its volume, which is gone for good after a reconciliation; and is gone when its image is deleted', async () => {
    const volume = await written('outlives');
    const { imageId } = await upload(volume);
    const image = await running.images.getImage(imageId);
    const before = await flow.create(image);
    await deleteVolume(running.cache, volume.volumeId);
    expect(await trashed()).toHaveLength(reads === 'the volume' ? 1 : 0);
    await reconcile(running.cache, { backend }, { wait: true });
    await reconcile(running.cache, { backend }, { wait: true });
    expect(await parentOf(imageId)).toBeUndefined();
    expect(await trashed()).toEqual([]);
    const after = await flow.create(image);
    expect(await isSameGuest(diskOf(before), diskOf(after))).toBe(true);
    const whole = await readGuest(diskOf(after));
    expect(await deleteImage(imageId)).toBe(204);
    expect(await listed('images')).not.toContain(imageId);
    await reconcile(running.cache, { backend }, { wait: true });
    expect(await readGuest(diskOf(after))).toEqual(whole);
  });

  if (reads !== 'the volume') return;

  it('is sent where the backend’s user may not write into Glance’s pool, and says so', async () => {
    const volume = await written('sent', { backend: readOnly });
    const { imageId, result } = await upload(volume);
    const transferReason = 'client.cinder may not write in pool images';
    expect(result).toMatchObject({ transfer: 'sent', transferReason });
    expect(await glance.countUploads(imageId)).toBe(1);
    const qcow2 = await upload(await written('qcow2'), { diskFormat: 'qcow2' });
    expect(qcow2.result).toMatchObject({ transfer: 'sent' });
  });

  it('is what a shared snapshot is, until it is shared no more: what was made of it stays', async () => {
    const volume = await written('shared');
    const { cache } = running;
    const { snapshotId } = (await createSnapshot(cache, { volumeId: volume.volumeId }, { wait: true })).result;
    const { result } = await shareSnapshot(cache, { snapshotId, members: ['other'] }, { wait: true });
    expect(result).toMatchObject({ transfer: 'pointer', members: ['other'] });
    await writeAsGuest(diskOf(volume), { offset: 8 * MiB, bytes: MiB, pattern: 0x11 });
    const image = await running.images.getImage(result.imageId);
    const made = await flow.create(image, { projectId: 'other' });
    expect(made).toMatchObject({ bytesDownloaded: 0, reason: expect.stringContaining('no byte was downloaded') });
    const before = await readGuest(diskOf(made));
    const ended = await unshareSnapshot(cache, { snapshotId }, { wait: true });
    expect(ended.result).toMatchObject({ outcome: 'deleted' });
    expect(await listed('images')).not.toContain(image.id);
    await expect(flow.create(image, { projectId: 'other' })).rejects.toMatchObject({ type: 'ImageNotFound' });
    expect(await readGuest(diskOf(made))).toEqual(before);
    await deleteSnapshot(cache, snapshotId);
    await deleteVolume(cache, volume.volumeId);
    expect(await readGuest(diskOf(made))).toEqual(before);
  });

  it('does not keep its volume from another image, which is written in place where snapshots lie in it', async () => {
    const { cache, database } = running;
    const volume = await written('rewritten');
    const { volumeId } = volume;
    const { snapshotId } = (await createSnapshot(cache, { volumeId }, { wait: true })).result;
    const before = await readGuest(diskOf(volume));
    const { image } = await flow.upload('in-place', { diskFormat: 'raw' });
    const fresh = await readGuest(diskOf(await flow.create(image, { sizeBytes: before.sizeBytes })));
    await leaveInPlace(database, { volumeId, image });
    expect(await getVolume(cache, volumeId)).toMatchObject({ state: 'reimaging' });
    await expect(deleteVolume(cache, volumeId, { cascade: true })).rejects.toMatchObject({ type: 'VolumeNotReady' });
    await reconcile(cache, { backend }, { wait: true });
    expect(await getVolume(cache, volumeId)).toMatchObject({ state: 'error', error: { type: 'ReimageUnfinished' } });
    for (const bypassCache of [true, false]) {
      await reimageVolume(cache, volumeId, { imageId: image.id, bypassCache });
      expect(await readGuest(diskOf(volume))).toEqual(fresh);
      expect(await flow.volume(volumeId)).toMatchObject({ state: 'available', holdsEntry: false, imageId: image.id });
      await writeAsGuest(diskOf(volume), { offset: 8 * MiB, bytes: MiB, pattern: 0x11 });
    }
    const copy = await createVolume(cache, { snapshotId });
    expect(await readGuest(diskOf(copy))).toEqual(before);
    await deleteSnapshot(cache, snapshotId);
    await deleteVolume(cache, volumeId);
    expect(await readGuest(diskOf(copy))).toEqual(before);
  });

  it('leaves nothing when it is cancelled; what a terminated one has left, the reconciler removes', async () => {
    const volume = await written('ended');
    const before = await listed('images');
    for (const end of ['cancel', 'terminate'] as const) {
      const started = await uploadVolume(running.cache, { volumeId: volume.volumeId }, { wait: false });
      const { imageId, workflowId } = started;
      await flow.until('the clone in Glance’s pool', async () => (await listed('images')).includes(imageId));
      const handle = running.client.workflow.getHandle(workflowId);
      await handle[end]();
      await expect(handle.result()).rejects.toMatchObject({ name: 'WorkflowFailedError' });
      await flow.until('nothing to be left', async () => {
        // Whether the image gets its bytes is chance: it goes by its owner's hand then, and the clone with it; without them it goes by itself.
        const image = await running.images.getImage(imageId).catch(() => undefined);
        if (image?.status === 'active') await deleteImage(imageId);
        await reconcile(running.cache, { backend }, { wait: true });
        return JSON.stringify(await listed('images')) === JSON.stringify(before);
      });
      await expect(running.images.getImage(imageId)).rejects.toMatchObject({ type: 'ImageNotFound' });
    }
  });

  it('is one image, and leaves nothing else, when its worker is killed', async () => {
    const volume = await written('killed');
    const before = await listed('images');
    const { imageId, workflowId } = await uploadVolume(running.cache, { volumeId: volume.volumeId }, { wait: false });
    await flow.until('the clone in Glance’s pool', async () => (await listed('images')).includes(imageId));
    await running.workers[0]?.stop('SIGKILL');
    await running.startWorker();
    expect(await running.client.workflow.getHandle(workflowId).result()).toMatchObject({ transfer: 'pointer' });
    expect(new Set(await listed('images'))).toEqual(new Set([...before, imageId]));
  });
});

/** Leaves the state of a run that was terminated while it wrote the bytes of an image into a volume. */
async function leaveInPlace(
  database: Database,
  { volumeId, image }: { volumeId: VolumeId; image: Image },
): Promise<void> {
  const contentId = brand<ContentId>(randomUUID());
  const of = { volumeId, contentId, imageId: image.id, shortKey: cacheKeyOf(image).short, imageMetadata: {} };
  const run = { workflowId: 'reimage/terminated', runId: randomUUID() };
  const limitOf = () => Promise.reject(new Error('unasked'));
  const begun = await beginReimage(database, { ...of, ...run, scope: 'all projects', limitOf });
  expect(begun).toMatchObject({ kind: 'begun' });
  expect(await beginInPlace(database, of)).toMatchObject({ kind: 'begun' });
}
