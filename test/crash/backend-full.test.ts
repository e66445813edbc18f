import { join } from 'node:path';
import { evict } from '../../client/eviction';
import { deleteVolume } from '../../client/volumes';
import { MiB } from '../../workflows/contract/bytes';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { mountFileSystem } from '../support/machine/filesystems';
import { expectCleanSlate, useStack } from '../support/stack/flows';
import { startHerd, type HerdImage } from '../support/stack/herd';

const BACKEND_BYTES = 96 * MiB;
/** Eight of them are nearly twice what the backend holds. */
const image = { creates: 2, virtualBytes: 24 * MiB, dataBytes: 20 * MiB };
const herd: HerdImage[] = Array.from({ length: 8 }, (_, index) => ({
  ...image,
  diskFormat: index % 2 === 0 ? 'qcow2' : 'raw',
}));

describeWithMounts('a backend that is full in the middle of a herd', () => {
  const flow = useStack(async ({ after }) => {
    const mounted = await mountFileSystem('ext4', BACKEND_BYTES);
    after(() => mounted.unmount());
    return { volumesDirectory: join(mounted.directory, 'volumes') };
  });

  it('makes whole volumes or says that there is no space, keeps nothing half-made, and works again once there is', async () => {
    const running = await startHerd(flow, herd);
    const made: string[] = [];
    let refused = 0;
    for (const { upload, creates } of running.members) {
      for (const { volumeId, result } of creates) {
        const [outcome] = await Promise.allSettled([result()]);
        if (outcome.status === 'fulfilled') {
          await flow.expectGuestBytes(upload.sample, outcome.value);
          made.push(volumeId);
          continue;
        }
        refused += 1;
        expect(await flow.volume(volumeId)).toMatchObject({ state: 'error', errorType: 'NoSpace' });
      }
    }
    expect(made.length).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
    await expectCleanSlate(flow.stack);

    const { cache, client, backend } = flow.stack;
    for (const { creates } of running.members) {
      for (const { volumeId } of creates) await deleteVolume(cache, volumeId);
    }
    const { result } = await evict(cache, { count: herd.length }, { backend });
    expect(result.outcome).toBe('done');
    await client.workflow.getHandle(cache.queues.ids.evict(backend)).terminate('the test is over');
    const again = await flow.upload('again', { ...image, diskFormat: 'qcow2' });
    await flow.expectGuestBytes(again.sample, await flow.create(again.image));
    await expectCleanSlate(flow.stack);
  });
});
