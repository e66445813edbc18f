import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageService } from '../../activities/glance/image-service';
import { getVolume } from '../../client/reads';
import { createVolume, deleteVolume, type CreatedVolume } from '../../client/volumes';
import { MiB } from '../../workflows/contract/bytes';
import type { Image } from '../../workflows/contract/image';
import { bootGuest, ensureQemu, type Guest } from '../support/boot/boot-guest';
import { ensureBootableDisk } from '../support/boot/bootable-disk';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { mountFileSystem, type MountedFileSystem } from '../support/machine/filesystems';
import { hashFile } from '../support/images/qemu';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';
import { startStack, type Stack } from '../support/stack/stack';

/** With the packages of QEMU and Glance being installed. */
const SETUP_TIMEOUT_MS = 300_000;
const STACK_TIMEOUT_MS = 60_000;
/** More than its boots, one after the other, may take. */
const TEST_TIMEOUT_MS = 300_000;
const XFS_BYTES = 512 * MiB;

let glance: RealGlance | undefined;
let disk: string;

beforeAll(async () => {
  await ensureQemu();
  disk = await ensureBootableDisk();
  glance = await startRealGlance();
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await glance?.stop();
}, STACK_TIMEOUT_MS);

describe('a volume that is an overlay', () => {
  describeBoot('overlay');
});
describeWithMounts('a volume that is a reflink', () => {
  describeBoot('reflink');
});

function describeBoot(clone: 'overlay' | 'reflink'): void {
  let mounted: MountedFileSystem | undefined;
  let stack: Stack | undefined;
  let image: Image;
  let miss: CreatedVolume;
  let hit: CreatedVolume;
  let guests: Guest[] = [];

  beforeAll(async () => {
    mounted = clone === 'reflink' ? await mountFileSystem('xfs', XFS_BYTES) : undefined;
    stack = await startStack({ clone, imagesEndpoint: glance?.endpoint, volumesDirectory: mounted?.directory });
    const { backend, cache, images } = stack;
    image = await uploadDisk(images);
    miss = await createVolume(cache, { imageId: image.id, backend });
    hit = await createVolume(cache, { imageId: image.id, backend });
  }, SETUP_TIMEOUT_MS);

  afterEach(async () => {
    for (const guest of guests) await guest.kill();
    guests = [];
  });

  afterAll(async () => {
    await stack?.stop();
    await mounted?.unmount();
  }, STACK_TIMEOUT_MS);

  const boot = (volume: CreatedVolume, mark: string): Guest => {
    const guest = bootGuest(volume.connection, mark);
    guests.push(guest);
    return guest;
  };

  it('is made by a miss and by a hit of one parent', async () => {
    expect(miss.outcome).toBe('miss');
    expect(hit.outcome).toBe('hit');
    expect(miss.connection).toMatchObject({ driver: 'file', format: clone === 'overlay' ? 'qcow2' : 'raw' });
    expect(await findParents(started(stack))).toHaveLength(1);
  });

  it(
    'boots by its connection beside its sibling, keeps what its guest writes and shows it to nobody else',
    async () => {
      const before = await describeSource(started(stack), image);
      expect(before.image).toBe(image.hashValue);
      const first = [boot(miss, 'first-of-miss'), boot(hit, 'first-of-hit')];
      expect(await Promise.all(first.map((guest) => guest.untilMarked()))).toEqual([[], []]);
      await Promise.all(first.map((guest) => guest.powerOff()));

      const second = [boot(miss, 'second-of-miss'), boot(hit, 'second-of-hit')];
      expect(await Promise.all(second.map((guest) => guest.untilMarked()))).toEqual([
        ['first-of-miss'],
        ['first-of-hit'],
      ]);
      await Promise.all(second.map((guest) => guest.powerOff()));

      const later = await createVolume(started(stack).cache, { imageId: image.id, backend: started(stack).backend });
      expect(later.outcome).toBe('hit');
      const untouched = boot(later, 'later');
      expect(await untouched.untilMarked()).toEqual([]);
      await untouched.powerOff();
      expect(await describeSource(started(stack), image)).toEqual(before);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'is not deleted while a guest runs from it, and is once that is off',
    async () => {
      const { cache } = started(stack);
      const guest = boot(hit, 'in-use');
      await guest.untilMarked();
      await expect(deleteVolume(cache, hit.volumeId)).rejects.toMatchObject({ type: 'VolumeInUse' });
      expect(await getVolume(cache, hit.volumeId)).toMatchObject({ state: 'available' });
      await guest.powerOff();
      expect(await deleteVolume(cache, hit.volumeId)).toMatchObject({ outcome: 'deleted' });
      expect(await filesOf(hit)).toEqual([]);
      expect(await filesOf(miss)).not.toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
}

async function uploadDisk(images: ImageService): Promise<Image> {
  const { id } = await images.createImage({ name: 'bootable', diskFormat: 'qcow2', containerFormat: 'bare' });
  await images.uploadImage({ imageId: id, sizeBytes: (await stat(disk)).size, body: createReadStream(disk) });
  return await images.getImage(id);
}

/** All that no guest may change: the parent's bytes, and the image's as the image service has them. */
async function describeSource(stack: Stack, image: Image) {
  const parents = await findParents(stack);
  return {
    parents: await Promise.all(parents.map(async (path) => ({ path, ...(await hashFile(path)) }))),
    image: await hashImage(stack.images, image),
  };
}

async function findParents({ volumesDirectory }: Stack): Promise<string[]> {
  const directory = join(volumesDirectory, 'images');
  return (await readdir(directory)).filter((name) => name.endsWith('.raw')).map((name) => join(directory, name));
}

async function hashImage(images: ImageService, { id, sizeBytes }: Image): Promise<string> {
  const { body } = await images.openDownload({ imageId: id, offsetBytes: 0, expectedBytes: sizeBytes ?? 0 });
  const hash = createHash('sha512');
  for await (const chunk of body) hash.update(chunk);
  return hash.digest('hex');
}

/** @returns what is on the disk for a volume, by its name. */
async function filesOf({ volumeId, connection }: CreatedVolume): Promise<string[]> {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return (await readdir(join(connection.path, '..'))).filter((name) => name.startsWith(volumeId));
}

function started(stack: Stack | undefined): Stack {
  if (stack === undefined) throw new Error('the stack did not start');
  return stack;
}
