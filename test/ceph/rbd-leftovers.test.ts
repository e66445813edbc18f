import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { MiB } from '../../workflows/contract/bytes';
import { kinds, objects, sealSample } from '../conformance/backend-contract';
import { CephCluster } from '../support/ceph/cluster';
import { makeRbdPlace, type RbdPlace } from '../support/ceph/rbd-place';
import { isSameGuest, writeAsGuest } from '../support/images/qemu';
import { volumeMarker } from '../support/markers';

jest.setTimeout(60_000);

describe.each([
  ['through librbd', openLibraryCluster],
  ['through the rbd tool', openToolCluster],
])('what killed calls leave in a pool, %s,', (_, open) => {
  const ceph = CephCluster.ofThisRun();
  let place: RbdPlace;
  beforeEach(async () => {
    place = await makeRbdPlace(open);
  });
  afterEach(async () => await place.remove());

  const rados = (...args: string[]): Promise<string> => ceph.rados(['-p', 'volumes', '-N', place.namespace, ...args]);
  /** Ends an image as a kill does between two of librbd's steps. */
  const unmake = async (image: string, { withIdObject }: { withIdObject: boolean }): Promise<void> => {
    const header = (await rados('ls')).split('\n').find((name) => name.startsWith('rbd_header.'));
    await rados('rm', header ?? '');
    if (withIdObject) await rados('rm', `rbd_id.${image}`);
  };

  it('is a name that does not open, as old as its reservation, and goes', async () => {
    const { volumeId } = volumeMarker(place);
    const image = `volume-${volumeId}`;
    await place.cluster.createImage(image, MiB);
    const reserved = await place.cluster.objectWrittenAt(`rbd_id.${image}`);
    await unmake(image, { withIdObject: false });
    await delay(1500); // It has a time of its own, not that of the list.
    const [found, ...others] = await objects(place.backend);
    expect([found, others]).toMatchObject([{ kind: 'partial', name: image, hasObjectName: true }, []]);
    expect(found?.modifiedAt).toEqual(reserved);
    expect(Math.abs(Date.now() - (reserved?.getTime() ?? 0))).toBeLessThan(30_000);
    await place.backend.ensureAttemptAbsent(found?.partial ?? { kind: 'volume', name: volumeId, attempt: '' });
    expect(await objects(place.backend)).toEqual([]);
    expect(await rados('ls')).not.toContain(image);
  });

  it('is a name alone, older than everything, and goes', async () => {
    const image = 'image-img.a1.partial';
    await place.cluster.createImage(image, MiB);
    await unmake(image, { withIdObject: true });
    const [found] = await objects(place.backend);
    expect(found).toMatchObject({ kind: 'partial', name: image, modifiedAt: new Date(0) });
    if (found?.partial) await place.backend.ensureAttemptAbsent(found.partial);
    expect(await objects(place.backend)).toEqual([]);
  });

  it('is an image without parent and marker, which goes unless it is completed or was written', async () => {
    const markers = [volumeMarker(place), volumeMarker(place), volumeMarker(place)];
    const [left, completed, written] = markers.map(({ volumeId }) => `volume-${volumeId}`);
    for (const image of [left, completed, written]) await place.cluster.createImage(image ?? '', 4 * MiB);
    // A kill leaves no object map that holds.
    for (const map of (await rados('ls')).split('\n').filter((name) => name.startsWith('rbd_object_map.')))
      await rados('rm', map);
    await writeAsGuest(place.diskOf({ driver: 'rbd', image: written } as never));
    const found = await objects(place.backend);
    expect(found.map(({ kind }) => kind)).toEqual(['foreign', 'partial', 'partial']);
    const removed = Promise.all(
      found.map(async ({ partial }) => await (partial && place.backend.ensureAttemptAbsent(partial))),
    );
    await delay(500);
    await place.cluster.completeImage(completed ?? '', {
      sizeBytes: 4 * MiB,
      metadata: { 'image-volume-cache.marker': JSON.stringify({ parent: null, marker: markers[1] }) },
    });
    await removed;
    expect(await kinds(place.backend)).toEqual(['foreign', 'volume']);
  });

  it('is what lies in the trash, as old as its deletion', async () => {
    const image = `volume-${randomUUID()}`;
    await place.cluster.createImage(image, MiB);
    const before = Date.now();
    await ceph.rbd(['trash', 'mv', `volumes/${place.namespace}/${image}`]);
    const [found] = await objects(place.backend);
    expect(found).toMatchObject({ kind: 'partial', name: `${image} (in the trash)`, hasObjectName: true });
    expect(found?.modifiedAt.getTime()).toBeGreaterThanOrEqual(before - 1000);
    expect(found?.modifiedAt.getTime()).toBeLessThanOrEqual(Date.now());
    if (found?.partial) await place.backend.ensureAttemptAbsent(found.partial);
    expect(await objects(place.backend)).toEqual([]);
  });

  it.each(['its publication', 'the reconciler'])(
    'is an image that was renamed by half, which %s gives its name and keeps',
    async (finishedBy) => {
      const marker = volumeMarker(place);
      const request = { kind: 'volume', name: marker.volumeId, attempt: 'a1' } as const;
      const target = await place.backend.ensureWriteTarget({ ...request, virtualBytes: MiB });
      const [image, attempt] = [`volume-${marker.volumeId}`, `volume-${marker.volumeId}.a1.partial`];
      await place.cluster.completeImage(attempt, {
        sizeBytes: marker.sizeBytes,
        metadata: { 'image-volume-cache.marker': JSON.stringify({ parent: null, marker }) },
      });
      const id = await place.cluster.readObject(`rbd_id.${attempt}`);
      await place.cluster.createObject(`rbd_id.${image}`, id ?? Buffer.alloc(0));
      if (finishedBy === 'its publication') await place.backend.publishVolume(target, marker);
      else await place.backend.ensureAttemptAbsent(request);
      expect(await place.cluster.listImages()).toEqual([image]);
      expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({ kind: 'present', marker });
      expect((await rados('ls')).split('\n').filter((name) => name.startsWith('rbd_id.'))).toEqual([`rbd_id.${image}`]);
    },
  );

  it('is the old name of an image that was renamed but for that, which goes without the image', async () => {
    const marker = volumeMarker(place);
    const request = { kind: 'volume', name: marker.volumeId, attempt: 'a1' } as const;
    const target = await place.backend.ensureWriteTarget({ ...request, virtualBytes: MiB });
    await place.backend.publishVolume(target, marker);
    const image = `volume-${marker.volumeId}`;
    const id = await place.cluster.readObject(`rbd_id.${image}`);
    await place.cluster.createObject(`rbd_id.${image}.a1.partial`, id ?? Buffer.alloc(0));
    await place.backend.ensureAttemptAbsent(request);
    expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({ kind: 'present', marker });
    expect((await rados('ls')).split('\n').filter((name) => name.startsWith('rbd_id.'))).toEqual([`rbd_id.${image}`]);
  });

  it('is an object map that names what was never copied, which a flatten copies all the same', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ivc-leftovers-'));
    try {
      const source = await sealSample(place, directory, 'img');
      const marker = volumeMarker(place);
      const connection = await place.backend.ensureClone('img', marker);
      const before = new Set((await rados('ls')).split('\n'));
      await writeAsGuest(place.diskOf(connection));
      const copied = (await rados('ls'))
        .split('\n')
        .filter((name) => name.startsWith('rbd_data.') && !before.has(name));
      expect(copied).not.toEqual([]);
      for (const name of copied) await rados('rm', name);
      expect(await place.backend.ensureFlattened?.(marker.volumeId, {})).toBe('flattened');
      expect(await isSameGuest(source, place.diskOf(connection))).toBe(true);
      const image = `volume-${marker.volumeId}`;
      expect(await place.cluster.usedBytes(image)).toBe(await place.cluster.usedBytes('image-img', 'sealed'));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
