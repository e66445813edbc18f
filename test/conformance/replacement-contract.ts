import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VolumeBackend, VolumeMarker } from '../../activities/backends/backend';
import { convertToRaw } from '../../activities/image/qemu-img';
import { KiB, MiB } from '../../workflows/contract/bytes';
import type { ContentId } from '../../workflows/contract/ids';
import { brand } from '../support/brand';
import {
  holdAsGuest,
  isSameGuest,
  readGuest,
  writeAsGuest,
  writeSampleImage,
  type QemuDisk,
} from '../support/images/qemu';
import { snapshotMarker, volumeMarker } from '../support/markers';
import { kinds, sealSample, type BackendPlace } from './backend-contract';

const GROWN_BYTES = 64 * MiB;
const FAR_BYTES = 48 * MiB;
const SAMPLE_BYTES = 16 * MiB;

/** The promises of every backend for a volume whose bytes are replaced by those of a parent. */
export function describeReplacements(title: string, makePlace: () => Promise<BackendPlace>): void {
  describe(`${title}: a volume with new bytes`, () => {
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

    const newContent = (): ContentId => brand<ContentId>(randomUUID());
    /** A clone of `old` with data of its own, far behind the image's. */
    const makeVolume = async (): Promise<{ marker: VolumeMarker; disk: QemuDisk }> => {
      await sealSample(place, samples, 'old');
      const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const disk = place.diskOf(await backend.ensureClone('old', marker));
      await writeAsGuest(disk, { offset: 0, bytes: 64 * KiB });
      await writeAsGuest(disk, { offset: FAR_BYTES, bytes: 64 * KiB });
      return { marker, disk };
    };
    /** @returns what a new volume of the parent reads as. */
    const readFresh = async (parent: string) => {
      const fresh = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const read = await readGuest(place.diskOf(await backend.ensureClone(parent, fresh)));
      await backend.ensureVolumeAbsent(fresh.volumeId);
      return read;
    };

    /** Writes the target of an attempt at the volume. */
    const writeTarget = async ({ volumeId }: VolumeMarker, name: string) => {
      const source = { path: join(samples, name), format: 'raw' } as const;
      await writeSampleImage(source.path, SAMPLE_BYTES);
      const attempt = { kind: 'volume', name: volumeId, attempt: name } as const;
      const target = await backend.ensureWriteTarget({ ...attempt, virtualBytes: SAMPLE_BYTES });
      await convertToRaw({ source, target, backend: backend.name });
      return { target, source: { filename: source.path, format: source.format } };
    };
    /** In place, as it is asked for again where a killed call has left bytes of neither. */
    const rewrite = async ({ marker, disk }: { marker: VolumeMarker & { content: ContentId }; disk: QemuDisk }) => {
      const ending = new AbortController();
      const onProgress = () => ending.abort(new Error('ended'));
      const replacement = { parent: 'old', marker, former: null };
      const ended = backend.ensureRewritten?.(replacement, { signal: ending.signal, onProgress });
      await expect(ended).rejects.toThrow('ended');
      expect(await isSameGuest(disk, { filename: join(samples, 'old'), format: 'raw' })).toBe(false);
      expect(await backend.settleReplaced(marker.volumeId, marker.content)).toBeUndefined();
      await backend.ensureRewritten?.(replacement);
      expect(await readGuest(disk)).toEqual(await readFresh('old'));
      await writeAsGuest(disk, { offset: FAR_BYTES, bytes: 64 * KiB });
      const written = await readGuest(disk);
      await backend.ensureRewritten?.(replacement);
      expect(place.diskOf(await backend.ensureReplaced(replacement))).toEqual(disk);
      expect(await readGuest(disk)).toEqual(written);
    };

    it('has those of its new parent and then zeros, also where that is its old one, and needs the old one no more', async () => {
      const { marker: made } = await makeVolume();
      const source = await sealSample(place, samples, 'new');
      const fresh = await readFresh('new');
      let former: ContentId | null = null;
      for (const parent of ['old', 'new', 'new']) {
        const marker = { ...made, content: newContent() };
        const disk = place.diskOf(await backend.ensureReplaced({ parent, marker, former }));
        if (parent === 'new') expect(await readGuest(disk)).toEqual(fresh);
        expect(await backend.describeVolume(made.volumeId)).toMatchObject({
          kind: 'present',
          sizeBytes: GROWN_BYTES,
          marker,
          ...(backend.capabilities.clonesPinParent && { parent }),
        });
        await writeAsGuest(disk, { offset: FAR_BYTES, bytes: 64 * KiB });
        former = marker.content;
      }
      await backend.ensureImageVolumeAbsent('old');
      expect(await isSameGuest(source, place.parentDiskOf('new'))).toBe(true);
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
    });

    it('is the same when it is asked for again, written bytes included', async () => {
      const { marker: made } = await makeVolume();
      const replacement = { parent: 'old', marker: { ...made, content: newContent() }, former: null };
      const connection = await backend.ensureReplaced(replacement);
      await writeAsGuest(place.diskOf(connection), { offset: FAR_BYTES, bytes: 64 * KiB });
      const written = await readGuest(place.diskOf(connection));
      expect(await backend.ensureReplaced(replacement)).toEqual(connection);
      expect(await readGuest(place.diskOf(connection))).toEqual(written);
      // A step of an earlier replacement that comes late.
      const late = { ...replacement, marker: { ...made, content: newContent() } };
      await expect(backend.ensureReplaced(late)).rejects.toMatchObject({ type: 'Conflict' });
      expect(await readGuest(place.diskOf(connection))).toEqual(written);
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
    });

    it('is told when it is settled, and keeps its bytes where nothing had begun', async () => {
      const { marker: made, disk } = await makeVolume();
      const before = await readGuest(disk);
      const content = newContent();
      expect(await backend.settleReplaced(made.volumeId, content)).toBeUndefined();
      expect(await readGuest(disk)).toEqual(before);
      const connection = await backend.ensureReplaced({ parent: 'old', marker: { ...made, content }, former: null });
      expect(await backend.settleReplaced(made.volumeId, content)).toEqual(connection);
      expect(await backend.settleReplaced(made.volumeId, newContent())).toBeUndefined();
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
    });

    it('is one when several replace its bytes at once', async () => {
      const { marker: made } = await makeVolume();
      const other = await place.reopen();
      let former: ContentId | null = null;
      for (let round = 0; round < 4; round += 1) {
        const content = newContent();
        const replacement = { parent: 'old', marker: { ...made, content }, former };
        former = content;
        const all = await Promise.all([backend, other].map((handle) => handle.ensureReplaced(replacement)));
        const connection = await backend.ensureReplaced(replacement);
        expect(all).toEqual([connection, connection]);
        expect(await readGuest(place.diskOf(connection))).toEqual(await readFresh('old'));
        expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
      }
    });

    it('keeps the old ones while a guest has it open, where the new parent is absent or too large, and without a volume', async () => {
      const { marker: made, disk } = await makeVolume();
      const before = await readGuest(disk);
      const marker = { ...made, content: newContent() };
      const letGo = await holdAsGuest(disk);
      try {
        const replaced = backend.ensureReplaced({ parent: 'old', marker, former: null });
        await expect(replaced).rejects.toMatchObject({ type: 'VolumeInUse' });
      } finally {
        await letGo();
      }
      const absent = backend.ensureReplaced({ parent: 'none', marker, former: null });
      await expect(absent).rejects.toMatchObject({ type: 'ParentUnusable' });
      const small = { parent: 'old', marker: { ...marker, sizeBytes: 512 }, former: null };
      await expect(backend.ensureReplaced(small)).rejects.toMatchObject({ type: 'InvalidRequest' });
      expect(await readGuest(disk)).toEqual(before);
      const nowhere = { ...volumeMarker(place, { sizeBytes: GROWN_BYTES }), content: newContent() };
      const missing = backend.ensureReplaced({ parent: 'old', marker: nowhere, former: null });
      await expect(missing).rejects.toMatchObject({ type: 'VolumeNotFound' });
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
    });

    it('has what was written for it, in either form of it, and then zeros', async () => {
      const { marker: made } = await makeVolume();
      let former: ContentId | null = null;
      for (const name of ['first', 'second']) {
        const marker = { ...made, content: newContent() };
        const { target, source } = await writeTarget(made, name);
        const replacement = { target, marker, former };
        const connection = await backend.ensureReplaced(replacement);
        expect(await isSameGuest(source, place.diskOf(connection))).toBe(true);
        expect(await backend.describeVolume(made.volumeId)).toMatchObject({
          sizeBytes: GROWN_BYTES,
          connection,
          marker,
        });
        expect(await backend.ensureReplaced(replacement)).toEqual(connection);
        expect(await backend.settleReplaced(made.volumeId, marker.content)).toEqual(connection);
        await writeAsGuest(place.diskOf(connection), { offset: FAR_BYTES, bytes: 64 * KiB });
        former = marker.content;
      }
      const marker = { ...made, content: newContent() };
      const again = await backend.ensureReplaced({ parent: 'old', marker, former });
      expect(await readGuest(place.diskOf(again))).toEqual(await readFresh('old'));
      expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
    });

    it('leaves its snapshots as they are, or keeps its bytes until they are written in place, where they lie in it', async () => {
      const { marker: made, disk } = await makeVolume();
      const before = await readGuest(disk);
      const snapshot = snapshotMarker(place, made);
      await backend.ensureSnapshot(snapshot);
      const marker = { ...made, content: newContent() };
      const [replaced] = await Promise.allSettled([backend.ensureReplaced({ parent: 'old', marker, former: null })]);
      if (replaced.status === 'rejected') {
        expect(replaced.reason).toMatchObject({ type: 'VolumeHasSnapshots' });
        expect(await readGuest(disk)).toEqual(before);
        if (backend.ensureRewritten !== undefined) await rewrite({ marker, disk });
      } else expect(await readGuest(place.diskOf(replaced.value))).toEqual(await readFresh('old'));
      expect(await backend.describeSnapshot(snapshot)).toMatchObject({ kind: 'present' });
      const copy = volumeMarker(place, { sizeBytes: GROWN_BYTES });
      const copied = await backend.cloneSnapshot({ snapshot, marker: copy });
      expect(await readGuest(place.diskOf(copied))).toEqual(before);
      await backend.ensureVolumeAbsent(copy.volumeId);
      await backend.ensureSnapshotAbsent(snapshot);
      await backend.ensureVolumeAbsent(made.volumeId);
      expect(await kinds(backend)).toEqual(['image-volume']);
    });
  });
}
