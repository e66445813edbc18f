import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RbdCluster, RbdPool } from '../../activities/backends/rbd/cluster';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { MiB } from '../../workflows/contract/bytes';
import { CephCluster } from '../support/ceph/cluster';
import { holdAsGuest, writeAsGuest, writeSampleImage, type QemuDisk } from '../support/images/qemu';
import { IMAGE_BYTES } from '../support/markers';

jest.setTimeout(120_000);

const PARENT = { image: 'parent', snapshot: 'sealed' };
const KEYS = ['marker', 'other'];
const absent = { name: 'CephError', code: 'ENOENT' };
const exists = { name: 'CephError', code: 'EEXIST' };

const ceph = CephCluster.ofThisRun();
let withQuota: Promise<{ pool: string; user: string }> | undefined;
/** One of 16 MiB for all: a pool takes seconds. */
async function poolWithQuota(): Promise<{ pool: string; user: string }> {
  withQuota ??= ceph.createPool();
  const { pool, user } = await withQuota;
  await ceph.setQuota(pool, 16 * MiB);
  return { pool, user };
}

/** The promises of each step, whichever way it is done: the backend is shown on one of them, see `rbd-backend.test.ts`. */
describe.each([
  ['librbd', openLibraryCluster],
  ['the rbd tool', openToolCluster],
])('the steps of RBD by %s:', (_, openCluster) => {
  const opened: RbdCluster[] = [];
  let directory = '';
  let sample = '';
  let pool: RbdPool;
  let cluster: RbdCluster;
  const open = (of: RbdPool): RbdCluster => {
    const made = openCluster(of);
    opened.push(made);
    return made;
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-rbd-steps-'));
    sample = join(directory, 'sample');
    await writeSampleImage(sample, IMAGE_BYTES);
  });
  beforeEach(async () => {
    const namespace = await ceph.createNamespace();
    pool = { pool: 'volumes', namespace, conf: ceph.confPath, user: 'cinder', operationTimeoutMs: 15_000 };
    cluster = open(pool);
  });
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
  });
  afterAll(async () => await rm(directory, { recursive: true, force: true }));

  const specOf = (image: string): string => `volumes/${pool.namespace}/${image}`;
  const diskOf = (image: string): QemuDisk => ({
    filename: `rbd:${specOf(image)}:id=cinder:conf=${ceph.confPath}`,
    format: 'raw',
  });
  const importSample = async (image: string): Promise<Buffer> => {
    await ceph.rbd(['import', '--no-progress', sample, specOf(image)]);
    return await readFile(sample);
  };
  /** @returns its bytes. */
  const makeParent = async (): Promise<Buffer> => {
    const bytes = await importSample(PARENT.image);
    await cluster.createSnapshot(PARENT.image, PARENT.snapshot);
    return bytes;
  };
  const clone = async (name: string, marker = name): Promise<void> =>
    await cluster.cloneImage(PARENT, { name, sizeBytes: IMAGE_BYTES, metadata: { marker } });
  const expectBytes = (found: Buffer, wanted: Buffer): void => {
    // Jest compares buffers of this size for seconds.
    expect([found.length, found.equals(wanted)]).toEqual([wanted.length, true]);
  };
  const readAll = async (name: string, options: { snapshot?: string; lengthBytes?: number } = {}): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    await cluster.read(name, { ...options, consume: (bytes) => Promise.resolve(void pieces.push(Buffer.from(bytes))) });
    return Buffer.concat(pieces);
  };

  it('the cluster says which it is, and refuses a namespace that nobody has made', async () => {
    const { fsid, monitors } = await cluster.identify();
    expect(fsid).toBe(ceph.fsid);
    expect(monitors).toEqual([expect.stringMatching(/^[\d.]+:\d+/)]);
    await expect(open({ ...pool, namespace: randomUUID() }).identify()).rejects.toMatchObject(absent);
  });

  it('space is what the pool may still take, its quota included', async () => {
    const { totalBytes, freeBytes } = await cluster.space();
    expect(freeBytes).toBeGreaterThan(0);
    expect(freeBytes).toBeLessThanOrEqual(totalBytes);
    const space = await open({ ...pool, namespace: undefined, ...(await poolWithQuota()) }).space();
    expect(space.totalBytes).toBe(16 * MiB);
    expect(space.freeBytes).toBeLessThanOrEqual(16 * MiB);
    expect(space.freeBytes).toBeGreaterThan(15 * MiB);
  });

  it('an object is created once, by one of several, read as it was written, and removed', async () => {
    expect(await cluster.readObject('claim')).toBeUndefined();
    expect(await cluster.objectWrittenAt('claim')).toBeUndefined();
    const texts = ['one', 'two', 'three'];
    const created = await Promise.all(
      texts.map(async (text) => await cluster.createObject('claim', Buffer.from(text))),
    );
    expect(created.filter(Boolean)).toHaveLength(1);
    expect((await cluster.readObject('claim'))?.toString()).toBe(texts[created.indexOf(true)]);
    expect(Math.abs(Date.now() - ((await cluster.objectWrittenAt('claim'))?.getTime() ?? 0))).toBeLessThan(60_000);
    expect(await cluster.createObject('claim', Buffer.from('late'))).toBe(false);
    await cluster.removeObject('claim');
    await cluster.removeObject('claim');
    expect(await cluster.readObject('claim')).toBeUndefined();
  });

  it('an image is created once, grows, never shrinks, and keeps what is noted with it', async () => {
    await cluster.createImage('made', 4 * MiB);
    await expect(cluster.createImage('made', 8 * MiB)).rejects.toMatchObject(exists);
    const described = await cluster.describeImage('made', KEYS);
    expect(described).toMatchObject({ sizeBytes: 4 * MiB, snapshots: [], metadata: {} });
    expect(described?.parent).toBeUndefined();
    expect(Math.abs(Date.now() - (described?.modifiedAt.getTime() ?? 0))).toBeLessThan(60_000);
    const marker = JSON.stringify({ name: 'disk of "ünïcode"', long: 'x'.repeat(2000) });
    await cluster.completeImage('made', { sizeBytes: 8 * MiB + 512, metadata: { marker, other: 'first' } });
    await cluster.completeImage('made', { sizeBytes: MiB, metadata: { other: 'second' } });
    expect(await cluster.describeImage('made', KEYS)).toMatchObject({
      sizeBytes: 8 * MiB + 512,
      metadata: { marker, other: 'second' },
    });
    expect(await cluster.listImages()).toEqual(['made']);
    expect(await cluster.usedBytes('made')).toBe(0);
    expectBytes(await readAll('made'), Buffer.alloc(8 * MiB + 512));
  });

  it('what is absent is told apart from what went wrong', async () => {
    expect(await cluster.listImages()).toEqual([]);
    expect(await cluster.listTrash()).toEqual([]);
    expect(await cluster.describeImage('none', KEYS)).toBeUndefined();
    await cluster.removeImage('none');
    expect(await cluster.removeFromTrash('0123456789ab')).toBe(true);
    await cluster.createImage('made', MiB);
    const wanted = { sizeBytes: MiB, metadata: {} };
    for (const refused of [
      cluster.usedBytes('none'),
      cluster.usedBytes('made', 'none'),
      cluster.countChildren('made', 'none'),
      cluster.countAncestors('none'),
      cluster.listWatchers('none'),
      cluster.completeImage('none', wanted),
      cluster.createSnapshot('none', 'sealed'),
      cluster.renameImage('none', 'other'),
      cluster.cloneImage(PARENT, { name: 'clone', ...wanted }),
      cluster.flatten('none', {}),
      readAll('none'),
    ])
      await expect(refused).rejects.toMatchObject(absent);
    expect(await cluster.listImages()).toEqual(['made']);
  });

  it('a clone has its parent’s bytes and its own size and notes, and is made once', async () => {
    const bytes = await makeParent();
    await cluster.completeImage(PARENT.image, { sizeBytes: IMAGE_BYTES, metadata: { marker: 'of the parent' } });
    expect(await cluster.countChildren(PARENT.image, PARENT.snapshot)).toBe(0);
    await cluster.cloneImage(PARENT, { name: 'clone', sizeBytes: 8 * MiB, metadata: { marker: 'own' } });
    await expect(clone('clone', 'of a second')).rejects.toMatchObject(exists);
    await clone('other');
    expect(await cluster.describeImage('clone', KEYS)).toMatchObject({
      sizeBytes: 8 * MiB,
      snapshots: [],
      metadata: { marker: 'own' },
      parent: { pool: 'volumes', namespace: pool.namespace, ...PARENT, inTrash: false },
    });
    expect((await cluster.describeImage(PARENT.image, KEYS))?.snapshots).toEqual([PARENT.snapshot]);
    expectBytes(await readAll('clone'), Buffer.concat([bytes, Buffer.alloc(8 * MiB - IMAGE_BYTES)]));
    expect(await cluster.usedBytes('clone')).toBe(0);
    expect(await cluster.usedBytes(PARENT.image, PARENT.snapshot)).toBeGreaterThan(0);
    expect(await cluster.countAncestors('clone')).toBe(1);
    expect(await cluster.countAncestors(PARENT.image)).toBe(0);
    await ceph.rbd(['trash', 'mv', specOf('other')]);
    expect(await cluster.countChildren(PARENT.image, PARENT.snapshot)).toBe(2);
    await ceph.rbd(['trash', 'mv', specOf(PARENT.image)]);
    expect((await cluster.describeImage('clone', []))?.parent).toMatchObject({ ...PARENT, inTrash: true });
    expect(await cluster.countAncestors('clone')).toBe(1);
  });

  it('a rename leaves what has the name already', async () => {
    await cluster.createImage('one', MiB);
    await cluster.createImage('two', 2 * MiB);
    await expect(cluster.renameImage('one', 'two')).rejects.toMatchObject(exists);
    await cluster.renameImage('one', 'three');
    expect((await cluster.listImages()).sort()).toEqual(['three', 'two']);
    expect(await cluster.describeImage('three', [])).toMatchObject({ sizeBytes: MiB });
    expect(await cluster.describeImage('two', [])).toMatchObject({ sizeBytes: 2 * MiB });
  });

  it('an image is read in order, as it is or as it was, as far as is asked, until somebody stops it', async () => {
    const bytes = await makeParent();
    await writeAsGuest(diskOf(PARENT.image));
    expectBytes(await readAll(PARENT.image, { snapshot: PARENT.snapshot }), bytes);
    const now = await readAll(PARENT.image);
    expect(now).toHaveLength(IMAGE_BYTES);
    expect(now.equals(bytes)).toBe(false);
    expectBytes(await readAll(PARENT.image, { lengthBytes: 4097 }), now.subarray(0, 4097));
    const reason = new Error('stop');
    const refusing = cluster.read(PARENT.image, { consume: () => Promise.reject(reason) });
    await expect(refusing).rejects.toBe(reason);
    const signal = AbortSignal.abort(reason);
    const aborted = cluster.read(PARENT.image, { signal, consume: () => Promise.resolve() });
    await expect(aborted).rejects.toBe(reason);
  });

  it('an image is removed with its snapshots, and one with clones stays readable', async () => {
    const bytes = await makeParent();
    await clone('clone');
    await expect(cluster.removeImage(PARENT.image)).rejects.toMatchObject({ name: 'CephError', code: 'ENOTEMPTY' });
    expectBytes(await readAll('clone'), bytes);
    await cluster.removeImage('clone');
    await cluster.removeImage(PARENT.image);
    expect(await cluster.listImages()).toEqual([]);
    expect(await cluster.listTrash()).toEqual([]);
  });

  it('a snapshot of an image that a guest writes has its notes, and goes with its last clone when it was deleted before', async () => {
    await cluster.ensureTrash();
    const bytes = await importSample('volume');
    const letGo = await holdAsGuest(diskOf('volume'));
    try {
      await cluster.snapshotVolume('volume', 'taken', { marker: 'of the snapshot' });
      await expect(cluster.snapshotVolume('volume', 'taken', {})).rejects.toMatchObject(exists);
    } finally {
      await letGo();
    }
    expect(await cluster.describeImage('volume', KEYS)).toMatchObject({
      snapshots: ['taken'],
      metadata: { marker: 'of the snapshot' },
    });
    const taken = { image: 'volume', snapshot: 'taken' };
    await cluster.cloneImage(taken, { name: 'clone', sizeBytes: IMAGE_BYTES, metadata: { marker: 'own' } });
    await cluster.removeSnapshot('volume', 'taken', 'marker');
    await cluster.removeSnapshot('volume', 'taken', 'marker');
    await cluster.removeSnapshot('none', 'taken', 'marker');
    const described = await cluster.describeImage('volume', KEYS);
    expect(described?.snapshots).not.toContain('taken');
    expect(described?.metadata['marker']).toBeUndefined();
    await expect(cluster.removeImage('volume')).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    await cluster.moveToTrash('volume');
    await expect(cluster.moveToTrash('volume')).rejects.toMatchObject(absent);
    const [{ id } = { id: '' }] = await cluster.listTrash();
    expect(await cluster.hasClones(id)).toBe(true);
    expect(await cluster.removeFromTrash(id)).toBe(false);
    expectBytes(await readAll('clone'), bytes);
    await cluster.removeImage('clone');
    expect(await cluster.hasClones(id)).toBe(false);
    expect(await cluster.removeFromTrash(id)).toBe(true);
    await expect(cluster.hasClones(id)).rejects.toMatchObject(absent);
    expect(await cluster.listTrash()).toEqual([]);
  });

  it('an image that a guest has open is seen to be, loses its name, and goes when it is let go', async () => {
    await cluster.ensureTrash();
    await cluster.ensureTrash();
    await importSample('held');
    expect(await cluster.listWatchers('held')).toEqual([]);
    const letGo = await holdAsGuest(diskOf('held'));
    const before = Date.now();
    let id = '';
    try {
      const [watcher, ...others] = await cluster.listWatchers('held');
      expect([watcher, others]).toMatchObject([{ own: false }, []]);
      expect(watcher?.address).toMatch(/\d/);
      await cluster.removeImage('held');
      expect(await cluster.listImages()).toEqual([]);
      const [found, ...more] = await cluster.listTrash();
      expect([found, more]).toMatchObject([{ name: 'held' }, []]);
      expect(found?.deletedAt.getTime()).toBeGreaterThanOrEqual(before - 1000);
      id = found?.id ?? '';
      expect(await cluster.removeFromTrash(id)).toBe(false);
    } finally {
      await letGo();
    }
    expect(await cluster.removeFromTrash(id)).toBe(true);
    expect(await cluster.listTrash()).toEqual([]);
  });

  it('a flattened clone keeps its bytes without its parent, and one without a parent is refused', async () => {
    const bytes = await makeParent();
    await clone('clone');
    const reason = new Error('stop');
    await expect(cluster.flatten('clone', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect((await cluster.describeImage('clone', []))?.parent).toMatchObject(PARENT);
    await cluster.flatten('clone', { bytesPerSecond: 1024 * MiB });
    expect((await cluster.describeImage('clone', KEYS))?.parent).toBeUndefined();
    expect(await cluster.usedBytes('clone')).toBe(await cluster.usedBytes(PARENT.image, PARENT.snapshot));
    await expect(cluster.flatten('clone', {})).rejects.toMatchObject({ name: 'CephError', code: 'EINVAL' });
    await cluster.removeImage(PARENT.image);
    expectBytes(await readAll('clone'), bytes);
  });

  it('nothing is asked of it any more when it was closed', async () => {
    await cluster.createImage('made', MiB);
    const listing = cluster.listImages().catch((error: unknown) => error);
    await cluster.close();
    expect([['made'], expect.objectContaining({ name: 'CephError', code: 'ETIMEDOUT' })]).toContainEqual(await listing);
    await expect(cluster.removeImage('made')).rejects.toMatchObject({ name: 'CephError', code: 'ETIMEDOUT' });
    expect(await open(pool).listImages()).toEqual(['made']);
  });
});
