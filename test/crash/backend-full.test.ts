import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { evict } from '../../client/eviction';
import { deleteVolume } from '../../client/volumes';
import { MiB } from '../../workflows/contract/bytes';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { mountFileSystem, type MountedFileSystem } from '../support/machine/filesystems';
import { expectCleanSlate, flowsOf } from '../support/stack/flows';
import { startHerd, type HerdImage } from '../support/stack/herd';
import { startStack, type Stack } from '../support/stack/stack';

const BACKEND_BYTES = 96 * MiB;
/** Eight of them are nearly twice what the backend holds. */
const image = { creates: 2, virtualBytes: 24 * MiB, dataBytes: 20 * MiB };
const herd: HerdImage[] = Array.from({ length: 8 }, (_, index) => ({
  ...image,
  diskFormat: index % 2 === 0 ? 'qcow2' : 'raw',
}));

describeWithMounts('a backend that is full in the middle of a herd', () => {
  let mounted: MountedFileSystem;
  let directory: string;
  let stack: Stack | undefined;
  const flow = flowsOf({
    stack: () => {
      if (stack === undefined) throw new Error('the stack is not up');
      return stack;
    },
    directory: () => directory,
  });
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-full-'));
    mounted = await mountFileSystem('ext4', BACKEND_BYTES);
    stack = await startStack({ volumesDirectory: join(mounted.directory, 'volumes') });
  });
  afterAll(async () => {
    await stack?.stop();
    await mounted.unmount();
    await rm(directory, { recursive: true, force: true });
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
  }, 300_000);
});
