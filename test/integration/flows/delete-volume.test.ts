import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { CancelledFailure } from '@temporalio/common';
import { deleteVolume } from '../../../client/volumes';
import { setAttached } from '../../support/attach';
import { MiB } from '../../../workflows/contract/bytes';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { listEvents } from '../../../db/events';
import { retireEntry } from '../../../db/entries/retirement';
import { endWithTest } from '../../support/machine/test-process';

const flow = useStack();

/** Files of the backend that begin with an id. */
function filesOf(volumeId: string): string[] {
  const folders = ['volumes', 'partial-volumes'].map((folder) => join(flow.stack.volumesDirectory, folder));
  return folders.flatMap((folder) => readdirSync(folder)).filter((name) => name.startsWith(volumeId));
}

function remove(volumeId: string) {
  return deleteVolume(flow.stack.cache, volumeId);
}

/** Opens a volume as a virtual machine does: by QEMU, with its image lock, until `close`. */
async function openInQemu({ connection }: CreateVolumeResult): Promise<{ close(): Promise<void> }> {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  const qemu = endWithTest(
    spawn('qemu-io', ['-f', connection.format, connection.path], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const exited = once(qemu, 'exit');
  // Its first prompt comes when the image is open.
  await once(qemu.stdout, 'data');
  return {
    close: async () => {
      qemu.stdin.end('quit\n');
      await exited;
    },
  };
}

describe('DeleteVolume', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('deletes an available volume and leaves its cache entry ready', async () => {
    const { image } = await flow.upload('available');
    const { volumeId } = await flow.create(image);
    expect(await remove(volumeId)).toMatchObject({ volumeId, outcome: 'deleted' });
    expect(filesOf(volumeId)).toEqual([]);
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'deleted', connection: null });
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', clones: 0 }]);
  });

  it('answers absent for an unknown and for a deleted id', async () => {
    expect(await remove(randomUUID())).toMatchObject({ outcome: 'absent' });
    const { image } = await flow.upload('twice');
    const { volumeId } = await flow.create(image);
    await remove(volumeId);
    expect(await remove(volumeId)).toMatchObject({ outcome: 'absent' });
  });

  it('deletes once for two callers at the same time', async () => {
    const { image } = await flow.upload('both');
    const { volumeId } = await flow.create(image);
    const outcomes = await Promise.all([remove(volumeId), remove(volumeId)]);
    expect(outcomes.map(({ outcome }) => outcome)).toContain('deleted');
    expect(filesOf(volumeId)).toEqual([]);
  });

  it('deletes by force what a row says is attached, never what is open, and tells that it was forced', async () => {
    const { image } = await flow.upload('forced');
    const created = await flow.create(image);
    const { volumeId } = created;
    await setAttached(flow.stack.database, { volumeId, attachedTo: 'a machine that is gone' });
    const force = () => deleteVolume(flow.stack.cache, volumeId, { force: true, by: 'root' });
    await expect(remove(volumeId)).rejects.toMatchObject({ type: 'VolumeInUse' });
    const guest = await openInQemu(created);
    await expect(force()).rejects.toMatchObject({ type: 'VolumeInUse', details: { by: 'a QEMU process' } });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'available' });
    await guest.close();
    await expect(
      deleteVolume(flow.stack.cache, volumeId, { force: true, projectId: created.projectId }),
    ).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'force' } });
    expect(await force()).toMatchObject({ outcome: 'deleted' });
    expect(filesOf(volumeId)).toEqual([]);
    const query = { scope: 'all projects', volumeId, kind: 'volume', limit: 9 } as const;
    const [deleted, ...others] = await listEvents(flow.stack.database, query);
    expect(deleted).toMatchObject({ kind: 'volume.deleted', requestedBy: 'root', detail: { forced: true } });
    const refused = others.filter(({ kind }) => kind === 'volume.delete-refused');
    expect(refused.map(({ detail }) => detail)).toEqual([
      { usedBy: 'a QEMU process', begun: true },
      { usedBy: 'a machine that is gone' },
    ]);
  });

  it('ends a create by force instead of waiting for it', async () => {
    const { image } = await flow.upload('stuck');
    await flow.stack.imageService.inject({ kind: 'stall', imageId: image.id, afterBytes: 0 });
    const stuck = await flow.start(image);
    await flow.untilWaiting(stuck.volumeId);
    const result = stuck.result().catch((error: unknown) => error);
    const forced = deleteVolume(flow.stack.cache, stuck.volumeId, { force: true });
    expect(await forced).toMatchObject({ outcome: 'deleted' });
    expect(await result).toMatchObject({ cause: { name: 'TerminatedFailure' } });
    expect(await flow.volume(stuck.volumeId)).toMatchObject({ state: 'deleted', holdsEntry: false, activityId: null });
    await flow.stack.imageService.clearFaults();
    await flow.flightHandle(image).result();
  });

  it('cancels a create that waits for a stalled download; the flight goes on and serves the others', async () => {
    const { sample, image } = await flow.upload('stalled', { virtualBytes: 32 * MiB });
    await flow.stack.imageService.inject({ kind: 'stall', imageId: image.id, afterBytes: 4 * MiB });
    const leader = await flow.start(image);
    await flow.untilWaiting(leader.volumeId);
    const other = await flow.start(image);
    await flow.untilWaiting(other.volumeId);

    expect(await remove(leader.volumeId)).toMatchObject({ outcome: 'deleted' });
    await expect(leader.result()).rejects.toMatchObject({ cause: expect.any(CancelledFailure) });
    expect(await flow.volume(leader.volumeId)).toMatchObject({ state: 'deleted', entryId: null });
    expect(await flow.stack.inventory.decisions(leader.volumeId)).toMatchObject([
      { outcome: 'failed', reason: 'cancelled' },
    ]);
    expect((await flow.flightHandle(image).describe()).status.name).toBe('RUNNING');

    await flow.stack.imageService.clearFaults();
    const joined = await other.result();
    expect(joined).toMatchObject({ outcome: 'joined' });
    await flow.expectGuestBytes(sample, joined);
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', clones: 1 }]);
    await expect(flow.create(image, { volumeId: leader.volumeId })).rejects.toMatchObject({ type: 'VolumeDeleted' });
  });

  it('cancels a create that bypasses the cache in the middle of its own download', async () => {
    const { image } = await flow.upload('stalled-bypass', { virtualBytes: 32 * MiB });
    await flow.stack.imageService.inject({ kind: 'stall', imageId: image.id, afterBytes: 4 * MiB, times: 5 });
    const create = await flow.start(image, { bypassCache: true });
    await flow.until('the download to begin', async () => {
      const { bytesServed } = await flow.stack.imageService.counters(image.id);
      return bytesServed > 0;
    });
    expect(await remove(create.volumeId)).toMatchObject({ outcome: 'deleted' });
    expect(await flow.volume(create.volumeId)).toMatchObject({ state: 'deleted' });
    await flow.stack.imageService.clearFaults();
  });

  it('cancels a create whose image service does not answer its admission', async () => {
    const { image } = await flow.upload('unanswered');
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'record', imageId: image.id, times: 1000 });
    const create = await flow.start(image);
    await flow.until('the admission to be tried', async () => {
      const { records } = await flow.stack.imageService.counters(image.id);
      return records > 3;
    });
    await create.handle.cancel();
    await expect(create.result()).rejects.toMatchObject({ cause: expect.any(CancelledFailure) });
    expect(await flow.volume(create.volumeId)).toBeUndefined();
    await flow.stack.imageService.clearFaults();
  });

  it('refuses a volume that is attached', async () => {
    const { image } = await flow.upload('attached');
    const { volumeId } = await flow.create(image);
    await setAttached(flow.stack.database, { volumeId, attachedTo: 'server web-1' });
    await expect(remove(volumeId)).rejects.toMatchObject({
      type: 'VolumeInUse',
      details: { by: 'server web-1' },
    });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'available' });
    await setAttached(flow.stack.database, { volumeId, attachedTo: null });
    expect(await remove(volumeId)).toMatchObject({ outcome: 'deleted' });
  });

  it('refuses a volume that QEMU has open and leaves it available; closed, it can be deleted', async () => {
    const { sample, image } = await flow.upload('open');
    const volume = await flow.create(image);
    const qemu = await openInQemu(volume);
    try {
      await expect(remove(volume.volumeId)).rejects.toMatchObject({ type: 'VolumeInUse' });
      expect(await flow.volume(volume.volumeId)).toMatchObject({ state: 'available' });
    } finally {
      await qemu.close();
    }
    await flow.expectGuestBytes(sample, volume);
    expect(await remove(volume.volumeId)).toMatchObject({ outcome: 'deleted' });
  });

  it('deletes a retired parent with its last clone, and not before', async () => {
    const { image } = await flow.upload('last-clone');
    const volumes = [await flow.create(image), await flow.create(image)];
    const [entry] = await flow.entriesOf(image);
    if (!entry) throw new Error('no entry');
    expect(await retireEntry(flow.stack.database, { entryId: entry.id, reason: 'evicted' })).toMatchObject({
      kind: 'retired',
    });

    const [first, last] = [await remove(volumes[0]?.volumeId ?? ''), await remove(volumes[1]?.volumeId ?? '')];
    expect(first).not.toHaveProperty('deletedParent');
    expect(last).toMatchObject({ outcome: 'deleted', deletedParent: entry.id });
    expect(await flow.stack.inventory.entry(entry.id)).toMatchObject({ state: 'gone', clones: 0 });
    expect(readdirSync(join(flow.stack.volumesDirectory, 'images'))).not.toContain(`${entry.imageVolume}.raw`);
  });
});
