import { KiB, MiB } from '../../workflows/contract/bytes';
import { describeWithMounts } from '../support/describe-with-mounts';
import { mountFileSystem, type MountedFileSystem } from '../support/filesystems';
import { expectCleanSlate, flowsOf, useStack } from '../support/flows';
import { expectArrival, expectOnePopulation, startHerd, type HerdImage } from '../support/herd';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '../support/stack';

const DATA_BYTES = 20 * MiB;
/** Room for one image and half another. */
const ROOM_BYTES = 30 * MiB;

const qcow2: HerdImage = { diskFormat: 'qcow2', creates: 3, virtualBytes: 24 * MiB, dataBytes: DATA_BYTES };
const herd = Array.from({ length: 5 }, () => qcow2);

describe('a scratch whose budget is less than a herd needs', () => {
  const flow = useStack({ scratch: { maxBytes: `${ROOM_BYTES / MiB}MiB` }, config: { createBudget: '10m' } });

  it('lets images wait for their turn, and every create gets its volume', async () => {
    const running = await startHerd(flow, herd);
    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      expect(arrival.bytesServed).toBe(arrival.upload.image.sizeBytes);
    }
    await expectCleanSlate(flow.stack);
  }, 300_000);
});

describe('a scratch that is smaller than an image', () => {
  const flow = useStack({ scratch: { maxBytes: '4MiB' }, config: { createBudget: '6s', createSafetyInterval: '2s' } });

  it('ends the create at the end of its budget; the population tells what is missing, and smaller images are not held up', async () => {
    const large = await flow.upload('large', { virtualBytes: 8 * MiB, dataBytes: 6 * MiB });
    const small = await flow.upload('small', { virtualBytes: 4 * MiB, dataBytes: 512 * KiB });
    const create = await flow.start(large.image);
    await flow.expectGuestBytes(small.sample, await flow.create(small.image));
    await expect(create.result()).rejects.toMatchObject({ cause: { type: 'BudgetSpent' } });
    const { raw } = await flow.flightHandle(large.image).describe();
    const failures = raw.pendingActivities?.map(({ lastFailure }) => lastFailure?.applicationFailureInfo?.type);
    expect(failures).toEqual(['ScratchFull']);
  }, 120_000);
});

describeWithMounts('a scratch whose file system is full', () => {
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
    mounted = await mountFileSystem('ext4', ROOM_BYTES + 8 * MiB);
    stack = await startStack({ scratchDirectory: join(mounted.directory, 'scratch') });
  });
  afterAll(async () => {
    await stack?.stop();
    await mounted.unmount();
    await rm(directory, { recursive: true, force: true });
  });

  it('costs a herd time and nothing else', async () => {
    const running = await startHerd(flow, herd);
    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      expect(arrival.bytesServed).toBe(arrival.upload.image.sizeBytes);
    }
    await expectCleanSlate(flow.stack);
  }, 300_000);
});
