import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { convertToRaw } from '../../activities/image/qemu-img';
import { MiB, TiB } from '../../workflows/contract/bytes';
import { kinds, objects, sealSample } from '../conformance/backend-contract';
import { makeFilePlace, type FilePlace } from '../conformance/file-backend-contract';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { mountFileSystem, type MountedFileSystem } from '../support/machine/filesystems';
import { IMAGE_BYTES, imageMarker, volumeMarker } from '../support/markers';
import { writeSampleImage } from '../support/images/qemu';

const BLOCK_BYTES = 4096;
const MAX_SMALL_FILES = 1000;

describeWithMounts('a file backend without space', () => {
  let mounted: MountedFileSystem;
  let place: FilePlace;
  let samples: string;
  beforeEach(async () => {
    samples = await mkdtemp(join(tmpdir(), 'ivc-samples-'));
    mounted = await mountFileSystem('ext4', 32 * MiB);
    place = await makeFilePlace(mounted.directory);
  });
  afterEach(async () => {
    await mounted.unmount();
    await rm(samples, { recursive: true, force: true });
  });

  it('refuses a clone with what is needed and free, leaves nothing half-made, and clones again when there is space', async () => {
    await sealSample(place, samples, 'img');
    const before = await objects(place.backend);
    await fill(mounted.directory);
    const marker = volumeMarker(place);
    await expect(place.backend.ensureClone('img', marker)).rejects.toMatchObject({
      type: 'NoSpace',
      details: { backend: 'local', neededBytes: expect.any(Number), freeBytes: expect.any(Number) },
    });
    expect(await objects(place.backend)).toEqual(before);
    await rm(join(mounted.directory, 'filling'), { recursive: true });
    await place.backend.ensureClone('img', marker);
    expect(await kinds(place.backend)).toEqual(['image-volume', 'volume']);
  });

  it('refuses to write an image that does not fit, and nothing stays after the undo', async () => {
    const source = join(samples, 'img');
    await writeSampleImage(source, IMAGE_BYTES);
    const attempt = { kind: 'image-volume', name: 'img', attempt: 'a1' } as const;
    const target = await place.backend.ensureWriteTarget({ ...attempt, virtualBytes: IMAGE_BYTES });
    await fill(mounted.directory);
    const written = convertToRaw({ source: { path: source, format: 'raw' }, target, backend: place.backend.name });
    await expect(written).rejects.toMatchObject({
      type: 'NoSpace',
      details: { backend: 'local', neededBytes: IMAGE_BYTES, freeBytes: expect.any(Number) },
    });
    await expect(place.backend.sealImageVolume(target, imageMarker(place, 'img'))).rejects.toMatchObject({
      type: 'NoSpace',
    });
    await place.backend.ensureAttemptAbsent(attempt);
    expect(await objects(place.backend)).toEqual([]);
  });

  it('refuses a file that is larger than the file system takes, naming the size', async () => {
    const made = place.backend.ensureWriteTarget({
      kind: 'image-volume',
      name: 'img',
      attempt: 'a1',
      virtualBytes: 512 * TiB,
    });
    await expect(made).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'sizeBytes', value: String(512 * TiB) },
    });
    expect(await objects(place.backend)).toEqual([]);
  });
});

describeWithMounts('a file backend whose file system turned read-only', () => {
  it('is unavailable, which a retry may heal, and goes on when it is writable again', async () => {
    const samples = await mkdtemp(join(tmpdir(), 'ivc-samples-'));
    const mounted = await mountFileSystem('ext4', 32 * MiB);
    try {
      const place = await makeFilePlace(mounted.directory);
      await sealSample(place, samples, 'img');
      const marker = volumeMarker(place);
      await mounted.remount('ro');
      await expect(place.backend.ensureClone('img', marker)).rejects.toMatchObject({
        type: 'BackendUnavailable',
        details: { backend: 'local', cause: expect.stringMatching(/^EROFS in /) },
      });
      expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
      await mounted.remount('rw');
      await place.backend.ensureClone('img', marker);
      expect(await kinds(place.backend)).toEqual(['image-volume', 'volume']);
    } finally {
      await mounted.unmount();
      await rm(samples, { recursive: true, force: true });
    }
  });
});

/** One file as large as can be, then many of one block: the space that a large file's own metadata cannot use goes to the small ones. */
async function fill(directory: string): Promise<void> {
  const filling = join(directory, 'filling');
  await mkdir(filling);
  await writeUntilFull(join(filling, 'large'), MiB);
  for (let files = 0; await writeUntilFull(join(filling, `small-${files}`), BLOCK_BYTES, 1); files += 1) {
    if (files > MAX_SMALL_FILES) throw new Error('the file system does not fill up');
  }
}

/** @returns whether all chunks could be written. */
async function writeUntilFull(path: string, chunkBytes: number, chunks = Number.POSITIVE_INFINITY): Promise<boolean> {
  const file = await open(path, 'wx');
  try {
    for (let written = 0; written < chunks; written += 1) await file.appendFile(Buffer.alloc(chunkBytes, 1));
    await file.sync();
    return true;
  } catch {
    await file.sync().catch(() => undefined);
    return false;
  } finally {
    await file.close();
  }
}
