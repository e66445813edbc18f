import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SnapshotMarker, SnapshotReader, VolumeBackend, VolumeMarker } from '../../activities/backends/backend';
import { KiB, MiB } from '../../workflows/contract/bytes';
import type { SnapshotId } from '../../workflows/contract/ids';
import { brand } from '../support/brand';
import { holdAsGuest, isSameGuest, readGuest, writeAsGuest, type QemuDisk } from '../support/images/qemu';
import { snapshotMarker, volumeMarker } from '../support/markers';
import { kinds, objects, removePartials, sealSample, type BackendPlace } from './backend-contract';

const GROWN_BYTES = 64 * MiB;
const FAR_BYTES = 48 * MiB;

/**
 * The promises of every backend for snapshots of volumes, and for volumes that are made of them. `brief`: those that the steps of a driver, each
 * by itself, do not show.
 */
export function describeSnapshots(title: string, makePlace: () => Promise<BackendPlace>, { brief = false } = {}): void {
  describe(`${title}: a snapshot`, () => {
    let place: BackendPlace;
    let backend: VolumeBackend;
    let samples: string;
    beforeEach(async () => {
      samples = await mkdtemp(join(tmpdir(), 'ivc-samples-'));
      place = await makePlace();
      backend = place.backend;
    });
    afterEach(async () => {
      await place?.remove();
      await rm(samples, { recursive: true, force: true });
    });

    /** A clone of a cached image with data of its own, far behind the image's. */
    const makeVolume = async (): Promise<{ marker: VolumeMarker; disk: QemuDisk }> => {
      if ((await backend.describeParent('img')).kind === 'absent') await sealSample(place, samples, 'img');
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const disk = place.diskOf(await backend.ensureClone('img', marker));
      await writeAsGuest(disk, { offset: FAR_BYTES, bytes: 64 * KiB });
      return { marker, disk };
    };
    const makeBlank = async (): Promise<{ marker: VolumeMarker; disk: QemuDisk }> => {
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const attempt = { kind: 'volume', name: marker.volumeId, attempt: 'blank' } as const;
      const target = await backend.ensureWriteTarget({ ...attempt, virtualBytes: GROWN_BYTES });
      return { marker, disk: place.diskOf(await backend.publishVolume(target, marker)) };
    };
    /** A volume of it. */
    const clone = async (snapshot: SnapshotMarker, more: Partial<VolumeMarker> = {}) => {
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES, ...more });
      return { marker, disk: place.diskOf(await backend.cloneSnapshot({ snapshot, marker })) };
    };

    it('goes before its volume, and what was made of it goes on without both', async () => {
      const { marker: volume, disk } = await makeVolume();
      const before = await readGuest(disk);
      const snapshot = snapshotMarker(place, volume);
      await backend.ensureSnapshot(snapshot);
      const { marker, disk: made } = await clone(snapshot);
      await backend.ensureSnapshotAbsent(snapshot);
      expect(await backend.describeSnapshot(snapshot)).toEqual({ kind: 'absent' });
      expect(await readGuest(made)).toEqual(before);
      await backend.ensureVolumeAbsent(volume.volumeId);
      await backend.ensureVolumeAbsent(volume.volumeId);
      expect(await readGuest(made)).toEqual(before);
      await writeAsGuest(made);
      // Waiting for it is nothing that somebody would have to act upon.
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
      if (backend.capabilities.clonesPinParent)
        await expect(backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject({ type: 'ParentUnusable' });
      await backend.ensureVolumeAbsent(marker.volumeId);
      await backend.ensureImageVolumeAbsent('img');
      expect(await objects(backend)).toEqual([]);
    });

    it('is one when it is asked for several times at once, and so is a volume of it', async () => {
      const { marker: volume, disk } = await makeVolume();
      const snapshot = snapshotMarker(place, volume);
      const other = await place.reopen();
      const handles = [backend, other, backend, other];
      const made = await Promise.all(handles.map(async (each) => await each.ensureSnapshot(snapshot)));
      for (const each of made) expect(each).toMatchObject({ kind: 'present', marker: snapshot });
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const clones = await Promise.all(handles.map(async (each) => await each.cloneSnapshot({ snapshot, marker })));
      expect(new Set(clones.map((connection) => JSON.stringify(connection))).size).toBe(1);
      expect(clones[0] && (await isSameGuest(disk, place.diskOf(clones[0])))).toBe(true);
      expect(await kinds(backend)).toEqual(['image-volume', 'snapshot', 'volume', 'volume']);
    });

    it('is whole or absent when it is deleted while it is made and cloned', async () => {
      const { marker: volume, disk } = await makeVolume();
      const snapshot = snapshotMarker(place, volume);
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      await Promise.allSettled([
        backend.ensureSnapshot(snapshot),
        backend.cloneSnapshot({ snapshot, marker }),
        backend.ensureSnapshotAbsent(snapshot),
      ]);
      await backend.ensureSnapshot(snapshot);
      await backend.cloneSnapshot({ snapshot, marker });
      const described = await backend.describeVolume(marker.volumeId);
      expect(described.kind === 'present' && (await isSameGuest(disk, place.diskOf(described.connection)))).toBe(true);
      await removePartials(backend);
      expect(await kinds(backend)).toEqual(['image-volume', 'snapshot', 'volume', 'volume']);
    });

    if (brief) return;

    it('is absent, then there with its volume’s size and its marker, listed, and absent again', async () => {
      const { marker: volume } = await makeVolume();
      const marker = snapshotMarker(place, volume);
      expect(await backend.describeSnapshot(marker)).toEqual({ kind: 'absent' });
      const made = await backend.ensureSnapshot(marker);
      expect(made).toMatchObject({ kind: 'present', sizeBytes: GROWN_BYTES, marker });
      expect(made.realBytes).toBeGreaterThan(0);
      expect(made.realBytes).toBeLessThan(GROWN_BYTES);
      expect(await (await place.reopen()).describeSnapshot(marker)).toEqual(made);
      const listed = (await objects(backend)).filter(({ kind }) => kind === 'snapshot');
      expect(listed).toMatchObject([{ kind: 'snapshot', name: marker.snapshotId, marker }]);
      await backend.ensureSnapshotAbsent(marker);
      await backend.ensureSnapshotAbsent(marker);
      expect(await backend.describeSnapshot(marker)).toEqual({ kind: 'absent' });
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
    });

    it('keeps the bytes that its volume had, whatever is written or taken later', async () => {
      const { marker: volume, disk } = await makeVolume();
      const before = await readGuest(disk);
      const marker = snapshotMarker(place, volume);
      await backend.ensureSnapshot(marker);
      await writeAsGuest(disk);
      const later = await readGuest(disk);
      const second = snapshotMarker(place, volume);
      await backend.ensureSnapshot(second);
      // Asked for again: it stays as it was taken.
      await backend.ensureSnapshot(marker);
      expect(later).not.toEqual(before);
      expect(await readGuest((await clone(marker)).disk)).toEqual(before);
      expect(await readGuest((await clone(second)).disk)).toEqual(later);
      expect(await readGuest(disk)).toEqual(later);
    });

    it('is refused where its id, its volume or another snapshot says so', async () => {
      const { marker: volume } = await makeVolume();
      const marker = snapshotMarker(place, volume);
      await backend.ensureSnapshot(marker);
      await expect(backend.ensureSnapshot({ ...marker, name: 'another' })).rejects.toMatchObject({
        type: 'SnapshotConflict',
        details: { snapshotId: marker.snapshotId },
      });
      const ofNone = snapshotMarker(place, volumeMarker(place));
      await expect(backend.ensureSnapshot(ofNone)).rejects.toMatchObject({ type: 'VolumeNotFound' });
      const snapshotId = brand<SnapshotId>('../../escape');
      await expect(backend.ensureSnapshot({ ...marker, snapshotId })).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { field: 'snapshotId' },
      });
      expect(await kinds(backend)).toEqual(['image-volume', 'snapshot', 'volume']);
    });

    it('becomes a volume with its bytes and then zeros, once, that is written apart from all others', async () => {
      const { marker: volume, disk } = await makeVolume();
      const marker = snapshotMarker(place, volume);
      await backend.ensureSnapshot(marker);
      const made = await clone(marker, { sizeBytes: 2 * GROWN_BYTES });
      expect((await readGuest(made.disk)).sizeBytes).toBe(2 * GROWN_BYTES);
      expect(await isSameGuest(made.disk, disk)).toBe(true);
      expect(await backend.describeVolume(made.marker.volumeId)).toMatchObject({
        kind: 'present',
        sizeBytes: 2 * GROWN_BYTES,
        marker: made.marker,
      });
      await writeAsGuest(made.disk, { pattern: 0x5a });
      const written = await readGuest(made.disk);
      const again = await (await place.reopen()).cloneSnapshot({ snapshot: marker, marker: made.marker });
      expect(place.diskOf(again)).toEqual(made.disk);
      expect(await readGuest(made.disk)).toEqual(written);
      expect(await isSameGuest(disk, (await clone(marker)).disk)).toBe(true);
    });

    it('becomes no volume of a size or an id that does not fit, and an absent one becomes none', async () => {
      const { marker: volume } = await makeVolume();
      const [snapshot, other] = [snapshotMarker(place, volume), snapshotMarker(place, volume)];
      await backend.ensureSnapshot(snapshot);
      await backend.ensureSnapshot(other);
      for (const sizeBytes of [GROWN_BYTES - 512, GROWN_BYTES + 1, Number.NaN, 2 ** 60])
        await expect(clone(snapshot, { sizeBytes })).rejects.toMatchObject({
          type: 'InvalidRequest',
          details: { field: 'sizeBytes', value: String(sizeBytes) },
        });
      await expect(clone(snapshotMarker(place, volume))).rejects.toMatchObject({ type: 'SnapshotNotFound' });
      const { marker } = await clone(snapshot);
      const taken = { type: 'Conflict', details: { volumeId: marker.volumeId } };
      await expect(backend.cloneSnapshot({ snapshot: other, marker })).rejects.toMatchObject(taken);
      await expect(backend.ensureClone('img', marker)).rejects.toMatchObject(taken);
      expect(await kinds(backend)).toEqual(['image-volume', 'snapshot', 'snapshot', 'volume', 'volume']);
    });

    it('keeps the image-volume that it needs', async () => {
      if (!backend.capabilities.clonesPinParent) return;
      const { marker: volume } = await makeVolume();
      const snapshot = snapshotMarker(place, volume);
      await backend.ensureSnapshot(snapshot);
      await backend.ensureVolumeAbsent(volume.volumeId).catch((error: unknown) => {
        expect(error).toMatchObject({ type: 'VolumeHasSnapshots', details: { snapshots: snapshot.snapshotId } });
      });
      await expect(backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject({ type: 'ParentUnusable' });
      expect(await backend.describeSnapshot(snapshot)).toMatchObject({ kind: 'present' });
      await backend.ensureSnapshotAbsent(snapshot);
      await backend.ensureVolumeAbsent(volume.volumeId);
      await backend.ensureImageVolumeAbsent('img');
    });

    it('is of a volume that a guest has open as it is at that moment, or is refused', async () => {
      const { marker: volume, disk } = await makeVolume();
      const before = await readGuest(disk);
      const snapshot = snapshotMarker(place, volume);
      const letGo = await holdAsGuest(disk);
      const taken = await backend.ensureSnapshot(snapshot).catch((error: unknown) => error);
      await letGo();
      const refused = expect.objectContaining({ type: 'VolumeInUse' });
      expect([refused, expect.objectContaining({ kind: 'present' })]).toContainEqual(taken);
      await backend.ensureSnapshot(snapshot);
      expect(await readGuest((await clone(snapshot)).disk)).toEqual(before);
    });

    it('tells where its data is, and reads as its volume did at any place, where it can be read', async () => {
      if (backend.openSnapshotReader === undefined) return;
      const { marker: volume, disk } = await makeVolume();
      const snapshot = snapshotMarker(place, volume);
      await expect(backend.openSnapshotReader(snapshot)).rejects.toMatchObject({ type: 'SnapshotNotFound' });
      await backend.ensureSnapshot(snapshot);
      await writeAsGuest(disk, { pattern: 0x11, offset: 0, bytes: MiB });
      await expectReadable(place, snapshot, samples);
      // A volume of a volume, read through all of them.
      const second = await clone(snapshot);
      await writeAsGuest(second.disk, { pattern: 0x22, offset: 12 * MiB + 512, bytes: 512 });
      const ofSecond = snapshotMarker(place, second.marker);
      await backend.ensureSnapshot(ofSecond);
      await expectReadable(place, ofSecond, samples);
    });

    it('of an empty volume has no data', async () => {
      const { marker: volume, disk } = await makeBlank();
      const snapshot = snapshotMarker(place, volume);
      await backend.ensureSnapshot(snapshot);
      expect(await readGuest((await clone(snapshot)).disk)).toEqual(await readGuest(disk));
      if (backend.openSnapshotReader === undefined) return;
      const reader = await backend.openSnapshotReader(snapshot);
      expect(await extentsOf(reader)).toEqual([]);
      expect((await reader.read(0, MiB)).equals(Buffer.alloc(MiB))).toBe(true);
      await reader.close();
    });
  });
}

async function extentsOf(reader: SnapshotReader): Promise<{ offset: number; lengthBytes: number }[]> {
  const found: { offset: number; lengthBytes: number }[] = [];
  for await (const extent of reader.extents()) found.push(extent);
  return found;
}

/** Reads the extents, and what lies between them is zeros, as a volume of the snapshot has it. */
async function expectReadable(place: BackendPlace, snapshot: SnapshotMarker, samples: string): Promise<void> {
  const { backend } = place;
  const reader = await backend.openSnapshotReader?.(snapshot);
  if (reader === undefined) throw new Error('there is no reader');
  try {
    expect(reader.sizeBytes).toBe(GROWN_BYTES);
    const extents = await extentsOf(reader);
    const bytes = Buffer.alloc(GROWN_BYTES);
    let end = -1;
    for (const { offset, lengthBytes } of extents) {
      expect(offset).toBeGreaterThan(end);
      end = offset + lengthBytes;
      (await reader.read(offset, lengthBytes)).copy(bytes, offset);
    }
    expect(end).toBeLessThanOrEqual(GROWN_BYTES);
    expect(extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)).toBeLessThan(GROWN_BYTES / 2);
    const path = join(samples, `${snapshot.snapshotId}.raw`);
    await writeFile(path, bytes);
    const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
    const disk = place.diskOf(await backend.cloneSnapshot({ snapshot, marker }));
    expect(await isSameGuest({ filename: path, format: 'raw' }, disk, { strict: false })).toBe(true);
    // Across data and holes, and over the end.
    const odd = FAR_BYTES - 4096;
    expect((await reader.read(odd, 3 * MiB)).equals(bytes.subarray(odd, odd + 3 * MiB))).toBe(true);
    expect(await reader.read(GROWN_BYTES - 512, MiB)).toEqual(Buffer.alloc(512));
    expect(await reader.read(GROWN_BYTES, 1)).toHaveLength(0);
  } finally {
    await reader.close();
  }
}
