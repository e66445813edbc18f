import { randomUUID } from 'node:crypto';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import type { VolumeBackend } from '../../activities/backends/backend';
import { MiB } from '../../workflows/contract/bytes';
import type { InstallationId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import { brand } from '../support/brand';
import { CephCluster } from '../support/ceph/cluster';
import { makeRbdPlace, type RbdPlace } from '../support/ceph/rbd-place';
import { isSameGuest, readGuest, writeAsGuest } from '../support/images/qemu';
import { snapshotMarker, volumeMarker } from '../support/markers';

const SIZE_BYTES = 16 * MiB;

describe.each([
  { access: 'librbd', open: openLibraryCluster },
  { access: 'the rbd tool', open: openToolCluster },
])('volumes that Cinder has made, through $access', ({ open }) => {
  const ceph = CephCluster.ofThisRun();
  let place: RbdPlace;
  beforeEach(async () => void (place = await makeRbdPlace(open)));
  afterEach(async () => await place.remove());

  const imageOf = (volumeId: string): string => `volume-${volumeId}`;
  const specOf = (image: string): string => `volumes/${place.namespace}/${image}`;
  const diskOf = (volumeId: string) => ({
    filename: `rbd:${specOf(imageOf(volumeId))}:id=cinder:conf=${ceph.confPath}`,
    format: 'raw' as const,
  });
  const images = async () => (await place.cluster.listImages()).sort();
  /** As Cinder's driver does: https://opendev.org/openstack/cinder/src/branch/master/cinder/volume/drivers/rbd.py. */
  const create = async (): Promise<VolumeId> => {
    const volumeId = randomUUID();
    await ceph.rbd(['create', specOf(imageOf(volumeId)), '--size', '16M', '--image-format', '2']);
    await writeAsGuest(diskOf(volumeId));
    return brand<VolumeId>(volumeId);
  };
  const protect = async (snapshot: string): Promise<void> => {
    await ceph.rbd(['snap', 'create', '--no-progress', snapshot]);
    await ceph.rbd(['snap', 'protect', snapshot]);
  };
  const snapshot = async (volumeId: VolumeId): Promise<SnapshotId> => {
    const snapshotId = brand<SnapshotId>(randomUUID());
    await protect(`${specOf(imageOf(volumeId))}@snapshot-${snapshotId}`);
    return snapshotId;
  };
  const clone = async (volumeId: VolumeId): Promise<VolumeId> => {
    const copy = randomUUID();
    const source = `${specOf(imageOf(volumeId))}@${imageOf(copy)}.clone_snap`;
    await protect(source);
    await ceph.rbd(['clone', source, specOf(imageOf(copy)), '--rbd-default-clone-format', '2']);
    return brand<VolumeId>(copy);
  };
  const take = async (backend: VolumeBackend, volumeId: VolumeId, snapshotIds: SnapshotId[] = []) => {
    const marker = { ...volumeMarker(place), volumeId, sizeBytes: SIZE_BYTES };
    const snapshots = snapshotIds.map((snapshotId) => ({ ...snapshotMarker(place, marker), snapshotId }));
    await backend.ensureTakenOver?.({ marker, snapshots });
  };

  it('are taken over where they lie, once and again, and given back', async () => {
    const { backend } = place;
    const volumeId = await create();
    const snapshotId = await snapshot(volumeId);
    const before = await readGuest(diskOf(volumeId));
    const described = await backend.describeForeign?.(volumeId);
    expect(described).toMatchObject({ kind: 'present', sizeBytes: SIZE_BYTES, snapshots: [snapshotId] });
    expect(described).not.toHaveProperty('marker');

    for (const _ of ['once', 'again']) await take(backend, volumeId, [snapshotId]);
    expect(await backend.describeForeign?.(volumeId)).toMatchObject({
      marker: { installation: place.installation, volumeId },
    });
    expect(await backend.describeVolume(volumeId)).toMatchObject({ kind: 'present', sizeBytes: SIZE_BYTES });
    expect(await backend.describeSnapshot({ snapshotId, volumeId })).toMatchObject({ marker: { name: 'before' } });
    const kinds = [];
    for await (const object of backend.list()) kinds.push(object.kind);
    expect(kinds.sort()).toEqual(['snapshot', 'volume']);
    const other = await place.reopen(brand<InstallationId>(randomUUID())).catch((error: unknown) => error);
    expect(other).toMatchObject({ type: 'ForeignObject' });

    for (const _ of ['once', 'again']) await backend.ensureGivenBack?.({ volumeId, snapshotIds: [snapshotId] });
    expect(await backend.describeForeign?.(volumeId)).toEqual(described);
    expect(await readGuest(diskOf(volumeId))).toEqual(before);
  });

  it('go with their protected snapshots; what Cinder made to clone one goes with the clone', async () => {
    const { backend } = place;
    const volumeId = await create();
    const snapshotId = await snapshot(volumeId);
    const copy = await clone(volumeId);
    await take(backend, volumeId, [snapshotId]);
    await take(backend, copy);
    expect(await backend.describeVolume(copy)).toMatchObject({ kind: 'present' });
    expect(await isSameGuest(diskOf(volumeId), diskOf(copy))).toBe(true);

    await expect(backend.ensureVolumeAbsent(volumeId)).rejects.toMatchObject({ type: 'VolumeHasSnapshots' });
    await backend.ensureSnapshotAbsent({ snapshotId, volumeId });
    await backend.ensureVolumeAbsent(copy);
    expect((await place.cluster.describeImage(imageOf(volumeId), []))?.snapshots).toEqual([]);
    await backend.ensureVolumeAbsent(volumeId);
    expect([await images(), await place.cluster.listTrash()]).toEqual([[], []]);
  });

  it('wait in the trash for their last clone', async () => {
    const { backend } = place;
    const volumeId = await create();
    const copy = await clone(volumeId);
    const bytes = await readGuest(diskOf(copy));
    await take(backend, volumeId);
    await take(backend, copy);
    await backend.ensureVolumeAbsent(volumeId);
    expect([await images(), (await place.cluster.listTrash()).length]).toEqual([[imageOf(copy)], 1]);
    expect(await readGuest(diskOf(copy))).toEqual(bytes);
    await backend.ensureVolumeAbsent(copy);
    expect([await images(), await place.cluster.listTrash()]).toEqual([[], []]);
  });
});
