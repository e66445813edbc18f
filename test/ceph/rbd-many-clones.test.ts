import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLibraryCluster, type LibraryCluster } from '../../activities/backends/rbd/library';
import { sealSample } from '../conformance/backend-contract';
import { makeRbdPlace } from '../support/ceph/rbd-place';
import { volumeMarker } from '../support/markers';

jest.setTimeout(180_000);

const CLONES = 1000;
const IN_FLIGHT = 8;

describe(`a parent with ${CLONES} clones`, () => {
  let directory = '';
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-many-clones-'));
  });
  afterAll(async () => await rm(directory, { recursive: true, force: true }));

  it('is cloned by the same calls as at first, and none of them lists its clones', async () => {
    let library: LibraryCluster | undefined;
    const place = await makeRbdPlace((pool) => (library = openLibraryCluster(pool)));
    try {
      await sealSample(place, directory, 'img');
      const clone = async (): Promise<void> => void (await place.backend.ensureClone('img', volumeMarker(place)));
      const callsOf = async (work: () => Promise<void>): Promise<Record<string, number>> => {
        const before = (await library?.countCalls()) ?? {};
        await work();
        const after = Object.entries((await library?.countCalls()) ?? {});
        return Object.fromEntries(
          after.map(([name, count]) => [name, count - (before[name] ?? 0)] as const).filter(([, count]) => count > 0),
        );
      };
      await clone();
      const first = await callsOf(clone);
      expect(first).toEqual({ rbd_clone3: 1, rados_read: 1, rados_exec: 2 });
      let made = 2;
      const lane = async (): Promise<void> => {
        for (; made < CLONES;) {
          made += 1;
          await clone();
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
      expect(await place.cluster.countChildren('image-img', 'sealed')).toBe(CLONES);
      expect(await callsOf(clone)).toEqual(first);
    } finally {
      await place.remove();
    }
  });
});
