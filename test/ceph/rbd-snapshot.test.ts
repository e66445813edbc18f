import { openLibraryCluster, type LibraryCluster } from '../../activities/backends/rbd/library';
import type { RbdPool } from '../../activities/backends/rbd/cluster';
import { MiB } from '../../workflows/contract/bytes';
import { CephCluster } from '../support/ceph/cluster';

const IMAGE_BYTES = 32 * MiB;
const ceph = CephCluster.ofThisRun();

describe('a snapshot with a number that is at hand', () => {
  let pool: RbdPool;
  let cluster: LibraryCluster;
  beforeEach(async () => {
    const namespace = await ceph.createNamespace();
    pool = { pool: 'volumes', namespace, conf: ceph.confPath, user: 'cinder', operationTimeoutMs: 15_000 };
    cluster = openLibraryCluster(pool);
  });
  afterEach(async () => await cluster.close());

  const specOf = (image: string): string => `volumes/${pool.namespace}/${image}`;
  const objectsOfNamespace = async (): Promise<string[]> => {
    const text = await ceph.rados(['--pool', 'volumes', '--namespace', pool.namespace ?? '', 'ls']);
    return text.split('\n').filter((name) => name !== '');
  };
  const fill = async (image: string, value: number): Promise<void> => {
    const writer = await cluster.openWriter?.(image);
    // The first object, and the third: the space between stays a hole.
    for (const position of [0, 8 * MiB]) await writer?.write(Buffer.alloc(MiB, value), position);
    await writer?.flush();
    await writer?.close();
  };
  const read = async (image: string, snapshot?: string): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    await cluster.read(image, { snapshot, consume: (bytes) => Promise.resolve(void pieces.push(Buffer.from(bytes))) });
    return Buffer.concat(pieces);
  };
  const make = async (image: string, { prepared }: { prepared: boolean }): Promise<void> => {
    await cluster.createImage(image, IMAGE_BYTES);
    await fill(image, 7);
    if (prepared) await cluster.createSnapshot(image, 'sealed');
    else await ceph.rbd(['snap', 'create', '--no-progress', `${specOf(image)}@sealed`]);
  };

  it('is what librbd makes of one: in its list, its size, its bytes and its object map', async () => {
    await make('prepared', { prepared: true });
    await make('plain', { prepared: false });
    // Otherwise nothing was compared.
    expect((await cluster.countCalls())['rbd_snap_create']).toBeUndefined();

    const describe = async (image: string) => {
      const [listed] = JSON.parse(await ceph.rbd(['snap', 'ls', '--format', 'json', specOf(image)])) as object[];
      const { id, timestamp, ...rest } = listed as { id: number; timestamp: string };
      expect(id).toBeGreaterThan(0);
      expect(Date.parse(timestamp)).not.toBeNaN();
      const { flags, features } = JSON.parse(
        await ceph.rbd(['info', '--format', 'json', `${specOf(image)}@sealed`]),
      ) as Record<string, unknown>;
      const used = await cluster.usedBytes(image, 'sealed');
      return { ...rest, flags, features, used, image: await cluster.describeImage(image, []) };
    };
    const [prepared, plain] = [await describe('prepared'), await describe('plain')];
    expect({ ...prepared, image: { ...prepared.image, modifiedAt: 0 } }).toEqual({
      ...plain,
      image: { ...plain.image, modifiedAt: 0 },
    });
    expect(prepared).toMatchObject({ name: 'sealed', flags: [], used: 8 * MiB });
    for (const map of ['prepared', 'prepared@sealed']) await ceph.rbd(['object-map', 'check', specOf(map)]);
    expect((await read('prepared', 'sealed')).equals(await read('plain', 'sealed'))).toBe(true);
  });

  it('keeps its bytes while the image is written, and so do its clones', async () => {
    await make('prepared', { prepared: true });
    const sealed = await read('prepared');
    await cluster.cloneImage({ image: 'prepared', snapshot: 'sealed' }, { name: 'clone', sizeBytes: 0, metadata: {} });
    await fill('prepared', 9);
    expect((await read('prepared')).equals(sealed)).toBe(false);
    expect((await read('prepared', 'sealed')).equals(sealed)).toBe(true);
    expect((await read('clone')).equals(sealed)).toBe(true);
    expect(await cluster.countChildren('prepared', 'sealed')).toBe(1);
  });

  it('leaves no object when its image is removed', async () => {
    await cluster.ensureTrash();
    const before = await objectsOfNamespace();
    await make('prepared', { prepared: true });
    await cluster.removeImage('prepared');
    const added = (await objectsOfNamespace()).filter((name) => !before.includes(name));
    // Empty: the list of images, and that of their clones.
    expect(added.filter((name) => !['rbd_directory', 'rbd_children', 'rbd_info'].includes(name))).toEqual([]);
  });

  it('is refused where the image has one of its name', async () => {
    await make('prepared', { prepared: true });
    await expect(cluster.createSnapshot('prepared', 'sealed')).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('is made with a new number where the image has a snapshot with a later one', async () => {
    await make('first', { prepared: true });
    await make('plain', { prepared: false });
    await cluster.createSnapshot('plain', 'later');
    expect((await cluster.describeImage('plain', []))?.snapshots).toEqual(['sealed', 'later']);
    expect((await cluster.countCalls())['rbd_snap_create']).toBe(1);
  });

  it('has clones that are grown without being opened, as librbd grows them', async () => {
    await make('parent', { prepared: true });
    const sealed = { image: 'parent', snapshot: 'sealed' };
    const sizeBytes = 101 * MiB + 512;
    await cluster.cloneImage(sealed, { name: 'clone', sizeBytes, metadata: { marker: 'mine', other: '' } });
    await cluster.cloneImage(sealed, { name: 'plain', sizeBytes: 0, metadata: {} });
    await cluster.completeImage('plain', { sizeBytes, metadata: { marker: 'mine', other: '' } });
    const calls = await cluster.countCalls();
    // Otherwise nothing was compared: the one that is opened is `plain`.
    expect(calls['rbd_resize']).toBe(1);
    const describe = async (image: string) => {
      const { size, objects, order, features, flags, parent } = JSON.parse(
        await ceph.rbd(['info', '--format', 'json', specOf(image)]),
      ) as Record<string, unknown>;
      await ceph.rbd(['object-map', 'check', specOf(image)]);
      const described = await cluster.describeImage(image, ['marker', 'other']);
      const used = await cluster.usedBytes(image);
      return { size, objects, order, features, flags, parent, described: { ...described, modifiedAt: 0 }, used };
    };
    expect(await describe('clone')).toEqual(await describe('plain'));
    const writer = await cluster.openWriter?.('clone');
    await writer?.write(Buffer.alloc(512, 5), sizeBytes - 512);
    await writer?.flush();
    await writer?.close();
    const bytes = await read('clone');
    expect(bytes.length).toBe(sizeBytes);
    expect(bytes.subarray(0, IMAGE_BYTES).equals(await read('parent'))).toBe(true);
    expect(bytes.subarray(IMAGE_BYTES, -512).equals(Buffer.alloc(sizeBytes - 512 - IMAGE_BYTES))).toBe(true);
    expect(bytes.subarray(-512).equals(Buffer.alloc(512, 5))).toBe(true);
    await ceph.rbd(['object-map', 'check', specOf('clone')]);
  });
});
