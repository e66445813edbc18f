import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { sealSample } from '../conformance/backend-contract';
import { CephCluster } from '../support/ceph/cluster';
import { makeRbdPlace, type RbdPlace } from '../support/ceph/rbd-place';
import { isSameGuest } from '../support/images/qemu';
import { IMAGE_BYTES, imageMarker, snapshotMarker, volumeMarker } from '../support/markers';

jest.setTimeout(60_000);

/** Glance's image, and a copy of it that somebody has cloned. */
const ANCESTORS = 2;

describe.each([
  ['through librbd', openLibraryCluster],
  ['through the rbd tool', openToolCluster],
])('an image-volume that is a clone itself, %s,', (_, open) => {
  const ceph = CephCluster.ofThisRun();
  let directory = '';
  let place: RbdPlace;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-depth-'));
  });
  afterEach(async () => {
    await place.remove();
    await rm(directory, { recursive: true, force: true });
  });

  /** Seals `deep`, whose bytes are those of `img`, two images behind it. @returns how many images a volume of it reads from. */
  const depthOfVolume = async (maxCloneDepth: number): Promise<number> => {
    place = await makeRbdPlace(open, { maxCloneDepth });
    const { backend, cluster, namespace } = place;
    const source = await sealSample(place, directory, 'img');
    const other = `${ceph.pools.images}/${namespace}`;
    await ceph.rbd(['clone', `volumes/${namespace}/image-img@sealed`, other]);
    await ceph.rbd(['snap', 'create', '--no-progress', `${other}@snap`]);
    await ceph.rbd(['clone', `${other}@snap`, `volumes/${namespace}/image-deep.a1.partial`]);
    const target = { attempt: 'a1', qemuTarget: '', virtualBytes: IMAGE_BYTES };
    await backend.sealImageVolume(target, imageMarker(place, 'deep'));
    const marker = volumeMarker(place);
    const connection = await backend.ensureClone('deep', marker);
    expect(await isSameGuest(place.diskOf(connection), source)).toBe(true);
    return await cluster.countAncestors(`volume-${marker.volumeId}`);
  };

  it('has volumes of volumes, each flattened when it would read from more images than it may', async () => {
    place = await makeRbdPlace(open, { maxCloneDepth: 2 });
    const { backend, cluster } = place;
    const source = await sealSample(place, directory, 'img');
    let volume = volumeMarker(place);
    await backend.ensureClone('img', volume);
    const depths: number[] = [];
    for (let made = 0; made < 2; made += 1) {
      const snapshot = snapshotMarker(place, volume);
      await backend.ensureSnapshot(snapshot);
      volume = volumeMarker(place);
      const disk = place.diskOf(await backend.cloneSnapshot({ snapshot, marker: volume }));
      expect(await isSameGuest(disk, source)).toBe(true);
      depths.push(await cluster.countAncestors(`volume-${volume.volumeId}`));
      expect(place.diskOf(await backend.cloneSnapshot({ snapshot, marker: volume }))).toEqual(disk);
    }
    expect(depths).toEqual([2, 0]);
  });

  it('stays one where its clones may be so deep', async () => {
    expect(await depthOfVolume(ANCESTORS + 1)).toBe(ANCESTORS + 1);
  });

  it('is flattened when it is sealed where they may not', async () => {
    expect(await depthOfVolume(ANCESTORS)).toBe(1);
  });
});
