import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createFileBackend } from '../../../activities/backends/file/backend';
import { cacheKeyOf } from '../../../activities/kit/cache-key';
import {
  changeVolume,
  createSnapshot,
  createVolume,
  deleteVolume,
  getVolume,
  reconcile,
  reimageVolume,
  setQuotas,
} from '../../../client';
import { listEvents } from '../../../db/events';
import { beginReimage } from '../../../db/reimage-admission';
import { holdParent } from '../../../db/reimages';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import type { ContentId, InstallationId, VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import { setAttached } from '../../support/attach';
import { brand } from '../../support/brand';
import { holdAsGuest, isSameGuest, writeAsGuest, type QemuDisk } from '../../support/images/qemu';
import { expectCleanSlate, useStack, type UploadedImage } from '../../support/stack/flows';
import { readIvc } from '../../support/stack/ivc';

const flow = useStack({
  clone: 'overlay',
  config: { schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1ms' } },
});

const LARGE = 24 * MiB;
const SMALL = 8 * MiB;

const diskOf = (connection: Connection | null): QemuDisk => {
  if (connection?.driver !== 'file') throw new Error(`unexpected driver ${connection?.driver}`);
  return { filename: connection.path, format: connection.format };
};
const holds = async (volumeId: string, { sample }: UploadedImage): Promise<boolean> => {
  const { connection } = await getVolume(flow.stack.cache, volumeId);
  return await isSameGuest({ filename: sample.rawPath, format: 'raw' }, diskOf(connection));
};
/** A volume that a guest has written over its whole length. */
const makeWritten = async (name: string) => {
  const large = await flow.upload(`${name}-large`, { virtualBytes: LARGE });
  const volume = await flow.create(large.image, { name, metadata: { kept: 'yes' } });
  await writeAsGuest(diskOf(volume.connection), { offset: 0, bytes: LARGE });
  return { large, volume, disk: diskOf(volume.connection) };
};
const reimage = async (
  volumeId: string,
  { image }: UploadedImage,
  of: { projectId?: string; bypassCache?: boolean; reimageReserved?: boolean } = {},
) => await reimageVolume(flow.stack.cache, volumeId, { imageId: image.id, ...of });

describe('ReimageVolume', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('gives a volume a smaller image, zeros behind it, and keeps what it is called; the image is populated once', async () => {
    const { volume, large } = await makeWritten('smaller');
    const { volumeId } = volume;
    const small = await flow.upload('small', { virtualBytes: SMALL });
    const others = [await flow.start(small.image), await flow.start(small.image)];
    const reimaged = await reimage(volumeId, small);
    expect(reimaged).toMatchObject({ volumeId, imageId: small.image.id, formerImageId: large.image.id });
    for (const other of others) await other.result();
    expect(await holds(volumeId, small)).toBe(true);
    expect(await getVolume(flow.stack.cache, volumeId)).toMatchObject({
      name: 'smaller',
      metadata: { kept: 'yes' },
      sizeBytes: LARGE,
      bootable: true,
      imageId: small.image.id,
      imageMetadata: { image_id: small.image.id },
      connection: reimaged.connection,
    });
    expect(await flow.entriesOf(small.image)).toMatchObject([{ clones: 3 }]);
    expect(await flow.entriesOf(large.image)).toMatchObject([{ clones: 0 }]);
    expect(await flow.stack.imageService.counters(small.image.id)).toMatchObject({ downloads: 1 });
    const query = { scope: 'all projects', volumeId: volumeId, kind: 'volume.reimaged', limit: 9 } as const;
    expect(await listEvents(flow.stack.database, query)).toMatchObject([
      { detail: { from: large.image.id, to: small.image.id } },
    ]);
  });

  it('resets a volume to its own image, also an empty one to its first', async () => {
    const { volume, large } = await makeWritten('reset');
    expect(await holds(volume.volumeId, large)).toBe(false);
    expect(await reimage(volume.volumeId, large)).toMatchObject({ bytesDownloaded: 0 });
    expect(await holds(volume.volumeId, large)).toBe(true);
    await writeAsGuest(diskOf(volume.connection));
    await reimage(volume.volumeId, large);
    expect(await holds(volume.volumeId, large)).toBe(true);
    const { backend, cache } = flow.stack;
    const blank = await createVolume(cache, { backend, sizeBytes: LARGE });
    expect(await reimage(blank.volumeId, large)).toMatchObject({ formerImageId: null });
    expect(await holds(blank.volumeId, large)).toBe(true);
    expect(await flow.entriesOf(large.image)).toMatchObject([{ clones: 2 }]);
  });

  it('gives an image that is not cached, in whatever form the volume is', async () => {
    const { database, backend } = flow.stack;
    const { volume } = await makeWritten('uncached');
    const { volumeId } = volume;
    const uncached = [
      [await flow.upload('bypassing', { virtualBytes: SMALL }), true],
      [await flow.upload('too-large', { virtualBytes: SMALL }), false],
    ] as const;
    const limitTo = async (bytes: number) =>
      await database.sql`update backends set max_bytes = ${bytes} where name = ${backend}`;
    await limitTo(MiB);
    for (const [image, bypassCache] of uncached) {
      const reimaged = await reimage(volumeId, image, { bypassCache });
      expect(reimaged.summary).toContain('it was written directly');
      expect(reimaged.bytesDownloaded).toBeGreaterThan(0);
      expect(await holds(volumeId, image)).toBe(true);
      expect(await flow.volume(volumeId)).toMatchObject({ state: 'available', entryId: null, holdsEntry: false });
      await writeAsGuest(diskOf(reimaged.connection));
      expect(await flow.entriesOf(image.image)).toEqual([]);
    }
    await limitTo(GiB);
    const small = await flow.upload('cached-again', { virtualBytes: SMALL });
    await reimage(volumeId, small);
    expect(await holds(volumeId, small)).toBe(true);
  });

  it('makes a volume whole that is in error, with its bytes or without, as far as quotas allow', async () => {
    const { cache, database } = flow.stack;
    const small = await flow.upload('of-error', { virtualBytes: SMALL });
    const { volume } = await makeWritten('in-error');
    const { volumeId, projectId } = volume;
    for (const found of ['with its bytes', 'without']) {
      if (found === 'without') rmSync(diskOf((await getVolume(cache, volumeId)).connection).filename);
      await database.sql`update volumes set state = 'error', error_type = 'Internal', error_message = 'broken' where id = ${volumeId}`;
      await setQuotas(cache, { projectId, quotas: { volumes: 0 } });
      await expect(reimage(volumeId, small)).rejects.toMatchObject({ type: 'QuotaExceeded' });
      expect(await getVolume(cache, volumeId)).toMatchObject({ state: 'error', error: { message: 'broken' } });
      await setQuotas(cache, { projectId, quotas: { volumes: 'default' } });
      await reimage(volumeId, small);
      expect(await getVolume(cache, volumeId)).toMatchObject({ state: 'available', error: null });
      expect(await holds(volumeId, small)).toBe(true);
    }
  });

  it('leaves snapshots what they are, and volumes that are made of them', async () => {
    const { volume, disk } = await makeWritten('snapped');
    const { volumeId } = volume;
    const { result: snapshot } = await createSnapshot(flow.stack.cache, { volumeId }, {});
    const small = await flow.upload('behind-a-snapshot', { virtualBytes: SMALL });
    const before = await createVolume(flow.stack.cache, { snapshotId: snapshot.snapshotId });
    expect(await isSameGuest(disk, diskOf(before.connection))).toBe(true);
    await reimage(volumeId, small);
    expect(await holds(volumeId, small)).toBe(true);
    const after = await createVolume(flow.stack.cache, { snapshotId: snapshot.snapshotId });
    expect(await isSameGuest(diskOf(before.connection), diskOf(after.connection))).toBe(true);
    await deleteVolume(flow.stack.cache, volumeId, { cascade: true });
  });

  it('is refused for a volume that is too small, attached, open or absent, and for what its project may not see; nothing changes', async () => {
    const { volume, large, disk } = await makeWritten('refused');
    const { volumeId } = volume;
    const huge = await flow.upload('huge', { virtualBytes: 2 * LARGE });
    await expect(reimage(volumeId, huge)).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: {
        field: 'volumeId',
        value: expect.stringContaining(String(LARGE)) as string,
        allowed: expect.stringContaining(String(2 * LARGE)) as string,
      },
    });
    await setAttached(flow.stack.database, { volumeId, attachedTo: 'server-1' });
    await expect(reimage(volumeId, large)).rejects.toMatchObject({ type: 'VolumeInUse', details: { by: 'server-1' } });
    await setAttached(flow.stack.database, { volumeId, attachedTo: null });
    const { database } = flow.stack;
    await database.sql`update volumes set status = 'reserved' where id = ${volumeId}`;
    await expect(reimage(volumeId, large)).rejects.toMatchObject({
      type: 'VolumeNotReady',
      details: { state: 'reserved' },
    });
    await reimage(volumeId, large, { reimageReserved: true });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'available', status: 'reserved' });
    await database.sql`update volumes set status = null where id = ${volumeId}`;
    await writeAsGuest(disk);
    const letGo = await holdAsGuest(disk);
    await expect(reimage(volumeId, large)).rejects.toMatchObject({ type: 'VolumeInUse' });
    await letGo();
    await expect(reimage(randomUUID(), large)).rejects.toMatchObject({ type: 'VolumeNotFound' });
    await expect(reimage(volumeId, large, { projectId: 'stranger' })).rejects.toMatchObject({ type: 'VolumeNotFound' });
    const imageId = randomUUID();
    await expect(reimageVolume(flow.stack.cache, volumeId, { imageId })).rejects.toMatchObject({
      type: 'ImageNotFound',
    });
    expect(await holds(volumeId, large)).toBe(false);
    expect(await flow.entriesOf(large.image)).toMatchObject([{ clones: 1 }]);
  });

  it('is finished, or undone, by the next one and by a reconciliation where its run is dead', async () => {
    const { volume, large } = await makeWritten('dead');
    const { volumeId } = volume;
    const small = await flow.upload('of-the-dead', { virtualBytes: SMALL });
    await flow.create(small.image);
    const look = async () =>
      (await reconcile(flow.stack.cache, { backend: flow.stack.backend }, {})).result.findings.map(
        ({ kind, object, action }) => ({ kind, object, action }),
      );
    const stuck = { kind: 'stuck-reimage', object: volumeId, action: 'repaired' };
    await leaveHalfDone(volumeId, small, { replaced: false });
    expect(await flow.entriesOf(small.image)).toMatchObject([{ clones: 2 }]);
    expect(await look()).toEqual([stuck]);
    expect(await flow.entriesOf(small.image)).toMatchObject([{ clones: 1 }]);
    expect(await flow.volume(volumeId)).toMatchObject({ imageId: large.image.id });

    await leaveHalfDone(volumeId, small, { replaced: true });
    expect(await look()).toEqual([stuck]);
    expect(await flow.volume(volumeId)).toMatchObject({ imageId: small.image.id, holdsEntry: true });
    expect(await flow.entriesOf(large.image)).toMatchObject([{ clones: 0 }]);
    expect(await holds(volumeId, small)).toBe(true);

    await leaveHalfDone(volumeId, small, { replaced: true });
    await changeVolume(flow.stack.cache, volumeId, { name: 'again' });
    expect(await reimage(volumeId, large)).toMatchObject({ formerImageId: small.image.id });
    expect(await holds(volumeId, large)).toBe(true);
    expect(await look()).toEqual([]);
  });
});

const unasked = () => Promise.reject(new Error('unasked'));

/** Leaves the state of a run that was terminated before, or after, the volume got its new bytes. */
async function leaveHalfDone(
  volumeId: VolumeId,
  { image }: UploadedImage,
  { replaced }: { replaced: boolean },
): Promise<void> {
  const { database, backend, volumesDirectory: directory } = flow.stack;
  const contentId = brand<ContentId>(randomUUID());
  const key = cacheKeyOf(image);
  const run = { workflowId: 'reimage/terminated', runId: randomUUID() };
  const request = {
    volumeId,
    contentId,
    imageId: image.id,
    shortKey: key.short,
    imageMetadata: {},
    limitOf: unasked,
    ...run,
  };
  expect(await beginReimage(database, { ...request, scope: 'all projects' })).toMatchObject({ kind: 'begun' });
  const [entry] = await flow.entriesOf(image);
  if (entry === undefined) throw new Error('nothing is cached');
  const held = { volumeId, contentId, entryId: entry.id, backend, key };
  expect(await holdParent(database, held)).toMatchObject({ kind: 'held' });
  if (!replaced) return;
  const [row] = await database.sql<{ id: InstallationId }[]>`select id from installation`;
  if (row === undefined) throw new Error('there is no installation');
  const place = await createFileBackend({ name: backend, installation: row.id, directory, clone: 'overlay' });
  const volume = await place.describeVolume(volumeId);
  if (volume.kind === 'absent' || volume.marker === undefined) throw new Error('the volume is gone');
  const marker = { ...volume.marker, content: contentId };
  const former = volume.marker.content ?? null;
  await place.ensureReplaced({ parent: entry.imageVolume, marker, former });
}

test('ivc volume reimage', async () => {
  const { volume, large } = await makeWritten('cli');
  const reimaged = await readIvc(
    ['volume', 'reimage', volume.volumeId, '--image', large.image.id],
    flow.stack.environment,
  );
  expect(reimaged).toMatchObject({
    exitCode: 0,
    document: { volumeId: volume.volumeId, imageId: large.image.id, bytesDownloaded: 0 },
  });
  expect(await holds(volume.volumeId, large)).toBe(true);
});
