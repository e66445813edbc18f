import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BackendObject, VolumeBackend } from '../../activities/backends/backend';
import { convertToRaw } from '../../activities/image/qemu-img';
import { waitFor } from '../../worker/stack/wait';
import { MiB } from '../../workflows/contract/bytes';
import type { InstallationId, VolumeId } from '../../workflows/contract/ids';
import type { Connection } from '../../workflows/contract/volume';
import { brand } from '../support/brand';
import { IMAGE_BYTES, imageMarker, volumeMarker } from '../support/markers';
import {
  holdAsGuest,
  isSameGuest,
  readGuest,
  writeAsGuest,
  writeSampleImage,
  type QemuDisk,
} from '../support/images/qemu';

/** An empty place of one backend, made new for each test. */
export interface BackendPlace {
  backend: VolumeBackend;
  /** The same place, opened again as another process of `installation` would. */
  reopen(installation?: InstallationId): Promise<VolumeBackend>;
  installation: InstallationId;
  /** How QEMU reads a volume, and an image-volume. */
  diskOf(connection: Connection): QemuDisk;
  parentDiskOf(name: string): QemuDisk;
  remove(): Promise<void>;
}

const GROWN_BYTES = 64 * MiB;

/** The promises of every backend. A driver's test is `describeBackend('…', async () => place)`. */
export function describeBackend(title: string, makePlace: () => Promise<BackendPlace>): void {
  describeRaces(title, makePlace);
  describe(title, () => {
    let place: BackendPlace;
    let samples: string;
    beforeEach(async () => {
      samples = await mkdtemp(join(tmpdir(), 'ivc-samples-'));
      place = await makePlace();
    });
    afterEach(async () => {
      await place?.remove();
      await rm(samples, { recursive: true, force: true });
    });
    const seal = async (name: string): Promise<QemuDisk> => await sealSample(place, samples, name);

    describe('a write target', () => {
      it('reads as zeros over its whole size', async () => {
        const target = await place.backend.ensureWriteTarget({
          kind: 'image-volume',
          name: 'img',
          attempt: 'a1',
          virtualBytes: IMAGE_BYTES,
        });
        await place.backend.sealImageVolume(target, imageMarker(place, 'img'));
        await sealZeros(place, join(samples, 'zeros'), 'zeros');
        expect((await readGuest(place.parentDiskOf('img'))).sizeBytes).toBe(IMAGE_BYTES);
        expect(await isSameGuest(place.parentDiskOf('img'), place.parentDiskOf('zeros'), { strict: true })).toBe(true);
      });

      it('is emptied when the same attempt asks again, and leaves other attempts alone', async () => {
        const request = { kind: 'image-volume', name: 'img', virtualBytes: IMAGE_BYTES } as const;
        await place.backend.ensureWriteTarget({ ...request, attempt: 'other' });
        const first = await place.backend.ensureWriteTarget({ ...request, attempt: 'a1' });
        await writeAsGuest({ filename: first.qemuTarget, format: 'raw' });
        const again = await place.backend.ensureWriteTarget({ ...request, attempt: 'a1' });
        expect(again).toEqual(first);
        expect(await attempts(place.backend)).toEqual(['a1', 'other']);
        await place.backend.sealImageVolume(again, imageMarker(place, 'img'));
        await sealZeros(place, join(samples, 'zeros'), 'zeros');
        expect(await isSameGuest(place.parentDiskOf('img'), place.parentDiskOf('zeros'), { strict: true })).toBe(true);
      });

      it('is refused for a size or a name that does not fit', async () => {
        const request = { kind: 'image-volume', name: 'img', attempt: 'a1', virtualBytes: IMAGE_BYTES } as const;
        for (const virtualBytes of [0, -512, 1000, 1.5, Number.NaN, 2 ** 60])
          await expect(place.backend.ensureWriteTarget({ ...request, virtualBytes })).rejects.toMatchObject({
            type: 'InvalidRequest',
            details: { field: 'sizeBytes', value: String(virtualBytes) },
          });
        for (const name of ['', '.', '..', '../img', 'a/b', '/etc', '-rf', 'a b', 'ä', 'x'.repeat(101)])
          await expect(place.backend.ensureWriteTarget({ ...request, name })).rejects.toMatchObject({
            type: 'InvalidRequest',
            details: { field: 'name', value: JSON.stringify(name) },
          });
        expect(await objects(place.backend)).toEqual([]);
      });

      it('passes as it is to a later attempt, under that one’s name, where the driver can', async () => {
        if (place.backend.takeOverAttempt === undefined) return;
        const request = { kind: 'image-volume', name: 'img', virtualBytes: IMAGE_BYTES } as const;
        const left = await place.backend.ensureWriteTarget({ ...request, attempt: 'a1' });
        await writeAsGuest({ filename: left.qemuTarget, format: 'raw' });
        const taken = await place.backend.takeOverAttempt({ ...request, from: 'a1', to: 'a2' });
        expect(taken).toMatchObject({ attempt: 'a2', virtualBytes: IMAGE_BYTES });
        expect(await attempts(place.backend)).toEqual(['a2']);
        expect(await place.backend.takeOverAttempt({ ...request, from: 'a1', to: 'a3' })).toBeUndefined();
      });

      it('holds what its writer has put anywhere, and zeros elsewhere, where this process can write it', async () => {
        const { backend } = place;
        if (backend.openWriter === undefined) return;
        const attempt = { kind: 'image-volume', name: 'img', attempt: 'a1' } as const;
        const target = await place.backend.ensureWriteTarget({ ...attempt, virtualBytes: IMAGE_BYTES });
        const source = join(samples, 'source');
        await writeSampleImage(source, IMAGE_BYTES);
        const bytes = await readFile(source);
        const writer = await backend.openWriter(attempt);
        const half = bytes.length / 2;
        await writer.write(bytes.subarray(half), half);
        for (let at = 0; at < half; at += 70_000) {
          const piece = Buffer.from(bytes.subarray(at, Math.min(at + 70_000, half)));
          await writer.write(piece, at);
          piece.fill(0xff); // It may be used again.
        }
        await writer.flush();
        await writer.close();
        expect(await backend.readTarget?.(attempt, 4096)).toEqual(bytes.subarray(0, 4096));
        const { realBytes } = await place.backend.sealImageVolume(target, imageMarker(place, 'img'));
        expect(realBytes).toBeLessThanOrEqual(IMAGE_BYTES);
        expect(await readGuest(place.parentDiskOf('img'))).toEqual(
          await readGuest({ filename: source, format: 'raw' }),
        );
      });

      it('is removed with its attempt, and an absent attempt is done', async () => {
        const request = { kind: 'volume', name: randomUUID(), attempt: 'a1' } as const;
        await place.backend.ensureWriteTarget({ ...request, virtualBytes: IMAGE_BYTES });
        await place.backend.ensureAttemptAbsent(request);
        await place.backend.ensureAttemptAbsent(request);
        expect(await objects(place.backend)).toEqual([]);
      });
    });

    describe('an image-volume', () => {
      it('is absent, then sealed with the bytes that were written', async () => {
        expect(await place.backend.describeParent('img')).toEqual({ kind: 'absent' });
        const source = await seal('img');
        expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed', virtualBytes: IMAGE_BYTES });
        expect(await readGuest(place.parentDiskOf('img'))).toEqual(await readGuest(source));
        expect(await (await place.reopen()).describeParent('img')).toMatchObject({
          kind: 'sealed',
          virtualBytes: IMAGE_BYTES,
        });
      });

      it('says what its deletion would give back, where the driver can tell: nothing when it is absent, no more than it takes', async () => {
        if (place.backend.reclaimableBytes === undefined) return;
        expect(await place.backend.reclaimableBytes('img')).toBe(0);
        await seal('img');
        const described = await place.backend.describeParent('img');
        const reclaimable = await place.backend.reclaimableBytes('img');
        expect(reclaimable).toBeGreaterThan(0);
        expect(described).toMatchObject({ kind: 'sealed' });
        expect(described.kind === 'sealed' && reclaimable <= described.realBytes).toBe(true);
      });

      it('has the sha256 of what a guest reads as its digest, where the driver can read it', async () => {
        if (place.backend.digestParent === undefined) return;
        const signal = new AbortController().signal;
        const seen: number[] = [];
        const onProgress = (bytesDone: number): void => void seen.push(bytesDone);
        const options = { bytesPerSecond: 1024 * MiB, signal, onProgress };
        expect(await place.backend.digestParent('img', options)).toBeUndefined();
        await seal('img');
        const { sha256 } = await readGuest(place.parentDiskOf('img'));
        expect(await place.backend.digestParent('img', options)).toEqual({
          algorithm: 'sha256',
          digest: sha256,
          bytes: IMAGE_BYTES,
        });
        expect(seen.at(-1)).toBe(IMAGE_BYTES);
      });

      it('ends its digest with the reason of an abort, and reads no faster than it may', async () => {
        if (place.backend.digestParent === undefined) return;
        await seal('img');
        const abort = new AbortController();
        const reason = new Error('stop');
        const digest = place.backend.digestParent('img', {
          // A byte a second: all the sample's bytes would take days.
          bytesPerSecond: 1,
          signal: abort.signal,
          onProgress: () => setImmediate(() => abort.abort(reason)),
        });
        await expect(digest).rejects.toBe(reason);
      });

      it('takes far fewer bytes than its size when the image is mostly empty', async () => {
        const target = await place.backend.ensureWriteTarget({
          kind: 'image-volume',
          name: 'img',
          attempt: 'a1',
          virtualBytes: 1024 * MiB,
        });
        const sealed = await place.backend.sealImageVolume(target, {
          ...imageMarker(place, 'img'),
          virtualBytes: 1024 * MiB,
        });
        expect(sealed.virtualBytes).toBe(1024 * MiB);
        expect(sealed.realBytes).toBeLessThan(MiB);
      });

      it('stays as it was sealed first when a later attempt seals its name, and no attempt stays', async () => {
        await seal('img');
        const before = await readGuest(place.parentDiskOf('img'));
        const late = await place.backend.ensureWriteTarget({
          kind: 'image-volume',
          name: 'img',
          attempt: 'late',
          virtualBytes: IMAGE_BYTES,
        });
        expect(await place.backend.sealImageVolume(late, imageMarker(place, 'img'))).toMatchObject({
          virtualBytes: IMAGE_BYTES,
        });
        expect(await readGuest(place.parentDiskOf('img'))).toEqual(before);
        expect(await kinds(place.backend)).toEqual(['image-volume']);
      });

      it('is not sealed when fewer bytes were written than its marker says', async () => {
        const target = await place.backend.ensureWriteTarget({
          kind: 'image-volume',
          name: 'img',
          attempt: 'a1',
          virtualBytes: IMAGE_BYTES,
        });
        const sealed = place.backend.sealImageVolume(target, {
          ...imageMarker(place, 'img'),
          virtualBytes: IMAGE_BYTES + 512,
        });
        await expect(sealed).rejects.toMatchObject({ type: 'ParentUnusable' });
        expect(await place.backend.describeParent('img')).toEqual({ kind: 'absent' });
      });

      it('is deleted with its marker and attempts, and an absent one is done', async () => {
        await seal('img');
        await place.backend.ensureWriteTarget({
          kind: 'image-volume',
          name: 'img',
          attempt: 'a9',
          virtualBytes: IMAGE_BYTES,
        });
        await place.backend.ensureImageVolumeAbsent('img');
        await place.backend.ensureImageVolumeAbsent('img');
        expect(await place.backend.describeParent('img')).toEqual({ kind: 'absent' });
        expect(await objects(place.backend)).toEqual([]);
      });
    });

    describe('a clone that is flattened', () => {
      it('keeps its bytes, its size, its marker and its connection, and needs its parent no more', async () => {
        if (place.backend.ensureFlattened === undefined) return;
        const source = await seal('img');
        const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
        const connection = await place.backend.ensureClone('img', marker);
        await writeAsGuest(place.diskOf(connection), { offset: 128 * 1024 });
        const before = await readGuest(place.diskOf(connection));
        const shares: number[] = [];
        const options = { onProgress: (share: number) => shares.push(share), bytesPerSecond: 1024 * MiB };
        const { clonesPinParent } = place.backend.capabilities;
        expect(await parentOf(place.backend, marker.volumeId)).toBe(clonesPinParent ? 'img' : undefined);
        const found = await place.backend.ensureFlattened(marker.volumeId, options);
        expect(await parentOf(place.backend, marker.volumeId)).toBeUndefined();
        expect(found).toBe(clonesPinParent ? 'flattened' : 'independent');
        await place.backend.ensureImageVolumeAbsent('img');
        expect(await readGuest(place.diskOf(connection))).toEqual(before);
        expect(await isSameGuest(source, place.diskOf(connection))).toBe(false);
        expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({
          kind: 'present',
          sizeBytes: GROWN_BYTES,
          connection,
          marker,
        });
        expect(await place.backend.ensureFlattened(marker.volumeId, {})).toBe('independent');
        expect(await place.backend.ensureClone('img', marker)).toEqual(connection);
        expect(await kinds(place.backend)).toEqual(['volume']);
      });

      it('stays as it is while a guest has it open', async () => {
        if (place.backend.ensureFlattened === undefined || !place.backend.capabilities.clonesPinParent) return;
        await seal('img');
        const marker = volumeMarker(place);
        const connection = await place.backend.ensureClone('img', marker);
        const letGo = await holdAsGuest(place.diskOf(connection));
        try {
          const flattened = place.backend.ensureFlattened(marker.volumeId, {});
          await expect(flattened).rejects.toMatchObject({ type: 'VolumeInUse' });
        } finally {
          await letGo();
        }
        await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject({ type: 'ParentUnusable' });
        expect(await place.backend.ensureFlattened?.(marker.volumeId, {})).toBe('flattened');
      });

      it('is absent when nobody has made it', async () => {
        expect(await place.backend.ensureFlattened?.(volumeMarker(place).volumeId, {})).not.toBe('flattened');
      });
    });

    describe('a volume that grows', () => {
      it('has its bytes and then zeros, its connection and its marker, and never shrinks', async () => {
        const source = await seal('img');
        const marker = volumeMarker(place);
        const connection = await place.backend.ensureClone('img', marker);
        const grow = (sizeBytes: number) => place.backend.ensureGrown(marker.volumeId, sizeBytes);
        const grown = { kind: 'present', formerSizeBytes: IMAGE_BYTES, sizeBytes: GROWN_BYTES };
        expect(await grow(GROWN_BYTES)).toEqual({ ...grown, openedBy: undefined });
        for (const sizeBytes of [GROWN_BYTES, IMAGE_BYTES, 512])
          expect(await grow(sizeBytes)).toMatchObject({ formerSizeBytes: GROWN_BYTES, sizeBytes: GROWN_BYTES });
        const disk = place.diskOf(connection);
        expect((await readGuest(disk)).sizeBytes).toBe(GROWN_BYTES);
        expect(await isSameGuest(source, disk)).toBe(true);
        await writeAsGuest(disk, { offset: GROWN_BYTES - 128 * 1024 });
        const described = { kind: 'present', sizeBytes: GROWN_BYTES, connection, marker };
        expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject(described);
        // A create whose answer was lost asks again.
        expect(await place.backend.ensureClone('img', marker)).toEqual(connection);
      });

      it('grows where it has no parent too, with what was written', async () => {
        const marker = volumeMarker(place);
        const request = { kind: 'volume', name: marker.volumeId, attempt: 'a1', virtualBytes: IMAGE_BYTES } as const;
        const target = await place.backend.ensureWriteTarget(request);
        const disk = place.diskOf(await place.backend.publishVolume(target, marker));
        await writeAsGuest(disk);
        const before = await readGuest(disk);
        await place.backend.ensureGrown(marker.volumeId, GROWN_BYTES);
        const after = await readGuest(disk);
        expect(after.sizeBytes).toBe(GROWN_BYTES);
        expect(after).not.toEqual(before);
        await place.backend.ensureGrown(marker.volumeId, IMAGE_BYTES);
        expect(await readGuest(disk)).toEqual(after);
      });

      it('says who has it open, or is refused while it is open', async () => {
        await seal('img');
        const marker = volumeMarker(place);
        const letGo = await holdAsGuest(place.diskOf(await place.backend.ensureClone('img', marker)));
        const [grown] = await Promise.allSettled([place.backend.ensureGrown(marker.volumeId, GROWN_BYTES)]);
        const described = await place.backend.describeVolume(marker.volumeId);
        await letGo();
        const isRefused = grown.status === 'rejected';
        expect(described).toMatchObject({ sizeBytes: isRefused ? IMAGE_BYTES : GROWN_BYTES });
        expect(grown).toMatchObject(
          isRefused
            ? { reason: { type: 'VolumeInUse', details: { volumeId: marker.volumeId } } }
            : { value: { sizeBytes: GROWN_BYTES, openedBy: expect.any(String) } },
        );
        expect(await place.backend.ensureGrown(marker.volumeId, GROWN_BYTES)).toMatchObject({ sizeBytes: GROWN_BYTES });
      });

      it('is refused for a size that does not fit, and is absent when nobody has made it', async () => {
        await seal('img');
        const marker = volumeMarker(place);
        await place.backend.ensureClone('img', marker);
        for (const sizeBytes of [IMAGE_BYTES + 1, 0, -512, Number.NaN, 2 ** 60])
          await expect(place.backend.ensureGrown(marker.volumeId, sizeBytes)).rejects.toMatchObject({
            type: 'InvalidRequest',
            details: { field: 'sizeBytes' },
          });
        expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({ sizeBytes: IMAGE_BYTES });
        expect(await place.backend.ensureGrown(volumeMarker(place).volumeId, GROWN_BYTES)).toEqual({ kind: 'absent' });
      });
    });

    describe('a clone', () => {
      it('is byte-identical to its parent', async () => {
        await seal('img');
        const marker = volumeMarker(place);
        const connection = await place.backend.ensureClone('img', marker);
        expect(await isSameGuest(place.diskOf(connection), place.parentDiskOf('img'), { strict: true })).toBe(true);
        expect(await readGuest(place.diskOf(connection))).toEqual(await readGuest(place.parentDiskOf('img')));
        expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({
          kind: 'present',
          sizeBytes: IMAGE_BYTES,
          connection,
          marker,
        });
      });

      it('is the parent and then zeros when it is grown', async () => {
        await seal('img');
        const connection = await place.backend.ensureClone('img', volumeMarker(place, { sizeBytes: GROWN_BYTES }));
        expect((await readGuest(place.diskOf(connection))).sizeBytes).toBe(GROWN_BYTES);
        expect(await isSameGuest(place.diskOf(connection), place.parentDiskOf('img'))).toBe(true);
      });

      it('changes neither its parent nor its siblings when it is written', async () => {
        await seal('img');
        const before = await readGuest(place.parentDiskOf('img'));
        const [written, sibling] = [
          place.diskOf(await place.backend.ensureClone('img', volumeMarker(place))),
          place.diskOf(await place.backend.ensureClone('img', volumeMarker(place))),
        ];
        await writeAsGuest(written);
        expect(await readGuest(place.parentDiskOf('img'))).toEqual(before);
        expect(await readGuest(sibling)).toEqual(before);
        expect(await readGuest(written)).not.toEqual(before);
        expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
      });

      it('is the same when it is asked for again, written bytes included', async () => {
        await seal('img');
        const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
        const first = await place.backend.ensureClone('img', marker);
        await writeAsGuest(place.diskOf(first));
        const written = await readGuest(place.diskOf(first));
        expect(await place.backend.ensureClone('img', marker)).toEqual(first);
        expect(await (await place.reopen()).ensureClone('img', marker)).toEqual(first);
        expect(await readGuest(place.diskOf(first))).toEqual(written);
      });

      it('is refused for a size that does not fit, and leaves nothing', async () => {
        await seal('img');
        for (const sizeBytes of [IMAGE_BYTES - 512, IMAGE_BYTES + 1, 0, -512, Number.NaN, 2 ** 60])
          await expect(place.backend.ensureClone('img', volumeMarker(place, { sizeBytes }))).rejects.toMatchObject({
            type: 'InvalidRequest',
            details: { field: 'sizeBytes', value: String(sizeBytes) },
          });
        expect(await kinds(place.backend)).toEqual(['image-volume']);
      });

      it('refuses a volume id that is no UUID', async () => {
        await seal('img');
        const volumeId = brand<VolumeId>('../../escape');
        await expect(place.backend.ensureClone('img', volumeMarker(place, { volumeId }))).rejects.toMatchObject({
          type: 'InvalidRequest',
          details: { field: 'volumeId' },
        });
      });

      it('is refused when its parent is absent', async () => {
        const made = place.backend.ensureClone('img', volumeMarker(place));
        await expect(made).rejects.toMatchObject({
          type: 'ParentUnusable',
          details: { parent: 'img', found: 'absent' },
        });
        expect(await objects(place.backend)).toEqual([]);
      });

      it('is refused when the volume id is taken by another request', async () => {
        await seal('img');
        await seal('img2');
        const marker = volumeMarker(place);
        const connection = await place.backend.ensureClone('img', marker);
        const before = await readGuest(place.diskOf(connection));
        await expect(place.backend.ensureClone('img', { ...marker, sizeBytes: GROWN_BYTES })).rejects.toMatchObject({
          type: 'Conflict',
        });
        await expect(place.backend.ensureClone('img2', marker)).rejects.toMatchObject({ type: 'Conflict' });
        expect(await readGuest(place.diskOf(connection))).toEqual(before);
      });

      it('says whether it keeps its parent on the backend', async () => {
        await seal('img');
        const marker = volumeMarker(place);
        const connection = await place.backend.ensureClone('img', marker);
        const before = await readGuest(place.diskOf(connection));
        if (place.backend.capabilities.clonesPinParent) {
          await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject({
            type: 'ParentUnusable',
            details: { parent: 'img' },
          });
          expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
        } else {
          await place.backend.ensureImageVolumeAbsent('img');
        }
        expect(await readGuest(place.diskOf(connection))).toEqual(before);
        await place.backend.ensureVolumeAbsent(marker.volumeId);
        await place.backend.ensureImageVolumeAbsent('img');
        expect(await objects(place.backend)).toEqual([]);
      });
    });

    describe('a volume that was written directly', () => {
      it('has the bytes that were written, then zeros up to its size', async () => {
        const source = join(samples, 'direct');
        await writeSampleImage(source, IMAGE_BYTES);
        const marker = volumeMarker(place, { sizeBytes: GROWN_BYTES });
        const target = await place.backend.ensureWriteTarget({
          kind: 'volume',
          name: marker.volumeId,
          attempt: 'a1',
          virtualBytes: IMAGE_BYTES,
        });
        await convertToRaw({ source: { path: source, format: 'raw' }, target, backend: place.backend.name });
        expect(await place.backend.describeVolume(marker.volumeId)).toEqual({ kind: 'absent' });
        const connection = await place.backend.publishVolume(target, marker);
        expect(await isSameGuest({ filename: source, format: 'raw' }, place.diskOf(connection))).toBe(true);
        expect((await readGuest(place.diskOf(connection))).sizeBytes).toBe(GROWN_BYTES);
        expect(await place.backend.describeVolume(marker.volumeId)).toMatchObject({
          kind: 'present',
          sizeBytes: GROWN_BYTES,
          connection,
          marker,
        });
        await writeAsGuest(place.diskOf(connection));
      });

      it('stays as it was published first when a later attempt publishes it', async () => {
        const marker = volumeMarker(place);
        const request = { kind: 'volume', name: marker.volumeId, virtualBytes: IMAGE_BYTES } as const;
        const first = await place.backend.publishVolume(
          await place.backend.ensureWriteTarget({ ...request, attempt: 'a1' }),
          marker,
        );
        await writeAsGuest(place.diskOf(first));
        const written = await readGuest(place.diskOf(first));
        expect(
          await place.backend.publishVolume(
            await place.backend.ensureWriteTarget({ ...request, attempt: 'a2' }),
            marker,
          ),
        ).toEqual(first);
        expect(await readGuest(place.diskOf(first))).toEqual(written);
        expect(await kinds(place.backend)).toEqual(['volume']);
      });

      it('is refused a size below what was written', async () => {
        const marker = volumeMarker(place, { sizeBytes: IMAGE_BYTES - 512 });
        const target = await place.backend.ensureWriteTarget({
          kind: 'volume',
          name: marker.volumeId,
          attempt: 'a1',
          virtualBytes: IMAGE_BYTES,
        });
        await expect(place.backend.publishVolume(target, marker)).rejects.toMatchObject({
          type: 'InvalidRequest',
          details: { field: 'sizeBytes' },
        });
      });
    });

    describe('deletion', () => {
      it('removes a volume with its marker and attempts, and an absent one is done', async () => {
        await seal('img');
        const marker = volumeMarker(place);
        await place.backend.ensureClone('img', marker);
        await place.backend.ensureWriteTarget({
          kind: 'volume',
          name: marker.volumeId,
          attempt: 'a1',
          virtualBytes: IMAGE_BYTES,
        });
        await place.backend.ensureVolumeAbsent(marker.volumeId);
        await place.backend.ensureVolumeAbsent(marker.volumeId);
        expect(await place.backend.describeVolume(marker.volumeId)).toEqual({ kind: 'absent' });
        expect(await kinds(place.backend)).toEqual(['image-volume']);
      });

      it('sees a process that has the volume open, and nobody when it is gone', async () => {
        await seal('img');
        const marker = volumeMarker(place);
        const release = await holdAsGuest(place.diskOf(await place.backend.ensureClone('img', marker)));
        try {
          expect(await place.backend.findOpener(marker.volumeId)).toEqual(expect.stringMatching(/\S/));
        } finally {
          await release();
        }
        expect(await place.backend.findOpener(marker.volumeId)).toBeUndefined();
        expect(await place.backend.findOpener(brand<VolumeId>(randomUUID()))).toBeUndefined();
      });
    });

    describe('the list', () => {
      it('tells image-volumes, volumes and partials apart, each with its marker, and a partial goes by what it says', async () => {
        await seal('img');
        const marker = volumeMarker(place, { name: 'disk of ünïcode', sizeBytes: GROWN_BYTES });
        await place.backend.ensureClone('img', marker);
        await place.backend.ensureWriteTarget({
          kind: 'image-volume',
          name: 'img2',
          attempt: 'a1',
          virtualBytes: IMAGE_BYTES,
        });
        const listed = await objects(place.backend);
        expect(listed).toMatchObject([
          { kind: 'image-volume', name: 'img', marker: imageMarker(place, 'img') },
          { kind: 'partial', partial: { kind: 'image-volume', name: 'img2', attempt: 'a1' } },
          { kind: 'volume', name: marker.volumeId, marker },
        ]);
        await removePartials(place.backend);
        expect(await kinds(place.backend)).toEqual(['image-volume', 'volume']);
      });

      it('is empty for an empty place', async () => {
        expect(await objects(place.backend)).toEqual([]);
      });
    });

    it('says how much space there is', async () => {
      const { totalBytes, freeBytes } = await place.backend.space();
      expect(totalBytes).toBeGreaterThan(0);
      expect(freeBytes).toBeGreaterThanOrEqual(0);
      expect(freeBytes).toBeLessThanOrEqual(totalBytes);
    });
  });
}

/** The promises to several calls at the same moment, which the steps of a driver, each by itself, do not show. `herd`: clones that are made at once. */
export function describeRaces(title: string, makePlace: () => Promise<BackendPlace>, { herd = 16 } = {}): void {
  describe(`${title}, at the same moment,`, () => {
    let place: BackendPlace;
    let samples: string;
    beforeEach(async () => {
      samples = await mkdtemp(join(tmpdir(), 'ivc-samples-'));
      place = await makePlace();
    });
    afterEach(async () => {
      await place?.remove();
      await rm(samples, { recursive: true, force: true });
    });
    const seal = async (name: string): Promise<QemuDisk> => await sealSample(place, samples, name);

    it('an image-volume is one and sealed when several attempts seal its name', async () => {
      const names = ['a1', 'a2', 'a3', 'a4'];
      const request = { kind: 'image-volume', name: 'img', virtualBytes: IMAGE_BYTES } as const;
      const targets = await Promise.all(
        names.map(async (attempt) => await place.backend.ensureWriteTarget({ ...request, attempt })),
      );
      const sealed = await Promise.allSettled(
        targets.map(async (target) => await place.backend.sealImageVolume(target, imageMarker(place, 'img'))),
      );
      expect(sealed.filter(({ status }) => status === 'fulfilled')).not.toEqual([]);
      for (const outcome of sealed)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ type: 'BackendUnavailable' });
      expect(await place.backend.describeParent('img')).toMatchObject({ kind: 'sealed' });
      expect(await kinds(place.backend)).toEqual(['image-volume']);
    });

    it('a volume is one when several attempts publish it', async () => {
      const other = await place.reopen();
      for (let round = 0; round < herd / 2; round += 1) {
        const marker = volumeMarker(place);
        const request = { kind: 'volume', name: marker.volumeId, virtualBytes: IMAGE_BYTES } as const;
        const targets = await Promise.all(
          ['a1', 'a2', 'a3', 'a4'].map((attempt) => place.backend.ensureWriteTarget({ ...request, attempt })),
        );
        const published = await Promise.allSettled(
          targets.map(async (target, index) => {
            // One ends while another is in its middle.
            await delay(index * round);
            return await (index % 2 === 0 ? place.backend : other).publishVolume(target, marker);
          }),
        );
        const connections = published.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
        const described = await place.backend.describeVolume(marker.volumeId);
        expect(described).toMatchObject({ kind: 'present', marker, connection: connections[0] });
        expect(connections).toEqual(connections.map(() => connections[0]));
        // A rename in RBD has several steps, in whose midst it is as if nothing were there: such a call is tried again.
        if (place.backend.driver === 'file') expect(connections).toHaveLength(targets.length);
        for (const outcome of published)
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ type: 'BackendUnavailable' });
        await place.backend.ensureVolumeAbsent(marker.volumeId);
      }
      expect(await kinds(place.backend)).toEqual([]);
    });

    it('a clone is one and sound when two flatten it, and absent when it is deleted meanwhile', async () => {
      const { backend } = place;
      if (backend.ensureFlattened === undefined || !backend.capabilities.clonesPinParent) return;
      const flatten = async (volumeId: VolumeId) => await backend.ensureFlattened?.(volumeId, {});
      const source = await seal('img');
      const [kept, deleted] = [volumeMarker(place), volumeMarker(place)];
      const connection = await place.backend.ensureClone('img', kept);
      await place.backend.ensureClone('img', deleted);
      await Promise.allSettled([
        flatten(kept.volumeId),
        flatten(kept.volumeId),
        flatten(deleted.volumeId),
        place.backend.ensureVolumeAbsent(deleted.volumeId),
      ]);
      expect(await flatten(kept.volumeId)).not.toBe('absent');
      expect(await flatten(deleted.volumeId)).toBe('absent');
      // One that was deleted while the flatten had it open may wait for the reconciler.
      await removePartials(place.backend);
      await place.backend.ensureImageVolumeAbsent('img');
      expect(await isSameGuest(source, place.diskOf(connection))).toBe(true);
      expect(await kinds(place.backend)).toEqual(['volume']);
    });

    it('a clone is one volume when it is asked for several times', async () => {
      await seal('img');
      const marker = volumeMarker(place);
      const other = await place.reopen();
      const handles = [place.backend, other, place.backend, other];
      const made = await Promise.all(handles.map(async (backend) => await backend.ensureClone('img', marker)));
      expect(new Set(made.map((connection) => JSON.stringify(connection))).size).toBe(1);
      expect(await kinds(place.backend)).toEqual(['image-volume', 'volume']);
    });

    it(`${herd} clones of one parent are all identical`, async () => {
      await seal('img');
      const parent = await readGuest(place.parentDiskOf('img'));
      const markers = Array.from({ length: herd }, () => volumeMarker(place));
      const made = await Promise.all(markers.map(async (marker) => await place.backend.ensureClone('img', marker)));
      for (const connection of made) expect(await readGuest(place.diskOf(connection))).toEqual(parent);
      expect(await kinds(place.backend)).toEqual(['image-volume', ...markers.map(() => 'volume')]);
    });
  });
}

/** Populates and seals an image-volume. @returns the image it was made from. */
export async function sealSample(place: BackendPlace, samples: string, name: string): Promise<QemuDisk> {
  const source = join(samples, name);
  await writeSampleImage(source, IMAGE_BYTES);
  await populate(place, source, name);
  return { filename: source, format: 'raw' };
}

/** Everything on the backend, in an order that does not depend on the disk. */
export async function objects(backend: VolumeBackend): Promise<BackendObject[]> {
  const found: BackendObject[] = [];
  for await (const object of backend.list()) found.push(object);
  return found.sort((a, b) => `${a.kind} ${a.name}`.localeCompare(`${b.kind} ${b.name}`));
}

export async function kinds(backend: VolumeBackend): Promise<BackendObject['kind'][]> {
  return (await objects(backend)).map(({ kind }) => kind);
}

/** As the reconciler does, until nothing half-made is left: objects that a killed client holds may take their time. */
export async function removePartials(backend: VolumeBackend): Promise<void> {
  const remove = async (): Promise<true> => {
    const partials = (await objects(backend)).flatMap(({ partial }) => partial ?? []);
    for (const partial of partials) await backend.ensureAttemptAbsent(partial);
    if (partials.length > 0) throw new Error(JSON.stringify(partials));
    return true;
  };
  await waitFor(remove, { what: 'everything half-made to be gone', deadlineMs: 60_000, intervalMs: 500 });
}

async function attempts(backend: VolumeBackend): Promise<string[]> {
  return (await objects(backend)).flatMap(({ partial }) => (partial ? [partial.attempt] : [])).sort();
}

/** An image-volume of zeros, to compare with. */
async function sealZeros(place: BackendPlace, source: string, name: string): Promise<void> {
  await writeSampleImage(source, 0);
  await truncate(source, IMAGE_BYTES);
  await populate(place, source, name);
}

async function populate(place: BackendPlace, source: string, name: string): Promise<void> {
  const target = await place.backend.ensureWriteTarget({
    kind: 'image-volume',
    name,
    attempt: 'sample',
    virtualBytes: IMAGE_BYTES,
  });
  await convertToRaw({ source: { path: source, format: 'raw' }, target, backend: place.backend.name });
  await place.backend.sealImageVolume(target, imageMarker(place, name));
}

/** @returns what a volume cannot be read without. */
async function parentOf(backend: VolumeBackend, volumeId: VolumeId): Promise<string | undefined> {
  const described = await backend.describeVolume(volumeId);
  return described.kind === 'present' ? described.parent : undefined;
}
