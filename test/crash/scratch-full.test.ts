import { KiB, MiB } from '../../workflows/contract/bytes';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { mountFileSystem } from '../support/machine/filesystems';
import { expectCleanSlate, useStack } from '../support/stack/flows';
import { startHerd, type HerdImage, expectWholeHerd } from '../support/stack/herd';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { uploadSample } from '../support/images/sample-image';

const run = promisify(execFile);
const DATA_BYTES = 20 * MiB;
/** Room for one image and half another. */
const ROOM_BYTES = 30 * MiB;

const qcow2: HerdImage = { diskFormat: 'qcow2', creates: 3, virtualBytes: 24 * MiB, dataBytes: DATA_BYTES };
const herd = Array.from({ length: 5 }, () => qcow2);

describe('a scratch whose budget is less than a herd needs', () => {
  const flow = useStack({ scratch: { maxBytes: `${ROOM_BYTES / MiB}MiB` }, config: { createBudget: '10m' } });

  it('lets images wait for their turn, and every create gets its volume', async () => {
    expect(await expectWholeHerd(flow, await startHerd(flow, herd))).toHaveLength(herd.length);
  });
});

describe('a scratch that is smaller than an image', () => {
  const flow = useStack({ scratch: { maxBytes: '4MiB' } });

  it('fails its create at once, with what is missing, and holds up no smaller image', async () => {
    const large = await flow.upload('large', { virtualBytes: 8 * MiB, dataBytes: 6 * MiB });
    const small = await flow.upload('small', { virtualBytes: 4 * MiB, dataBytes: 512 * KiB });
    const create = await flow.start(large.image);
    await flow.expectGuestBytes(small.sample, await flow.create(small.image));
    await expect(create.result()).rejects.toMatchObject({
      cause: { type: 'ScratchTooSmall', details: [{ capacityBytes: 4 * MiB }] },
    });
    await expectCleanSlate(flow.stack);
  });
});

describeWithMounts('a scratch whose disk is smaller than an image', () => {
  const flow = useStack(async ({ after }) => {
    const mounted = await mountFileSystem('ext4', ROOM_BYTES + 8 * MiB);
    after(() => mounted.unmount());
    return { scratchDirectory: join(mounted.directory, 'scratch') };
  });

  it('fails the create of that image at once, whatever the budget says, and holds up no other', async () => {
    const large = await flow.upload('larger-than-the-disk', { virtualBytes: 64 * MiB, dataBytes: 48 * MiB });
    const small = await flow.upload('fits', { virtualBytes: 8 * MiB, dataBytes: 4 * MiB });
    const tooLarge = await flow.start(large.image);
    await flow.expectGuestBytes(small.sample, await flow.create(small.image));
    await expect(tooLarge.result()).rejects.toMatchObject({ cause: { type: 'ScratchTooSmall' } });
    await expectCleanSlate(flow.stack);
  });

  it('fails a compressed image that fits only while it is compressed', async () => {
    const { sample } = await flow.upload('expands', { diskFormat: 'raw', virtualBytes: 128 * MiB, dataBytes: 0 });
    await run('gzip', ['-1kf', sample.path]);
    const data = { ...sample, path: `${sample.path}.gz` };
    const image = await uploadSample(flow.stack.images, data, { containerFormat: 'compressed' });
    await expect(flow.create(image)).rejects.toMatchObject({ type: 'ScratchTooSmall' });
    await expectCleanSlate(flow.stack);
  });
});

describeWithMounts('a scratch whose file system is full', () => {
  const flow = useStack(async ({ after }) => {
    const mounted = await mountFileSystem('ext4', ROOM_BYTES + 8 * MiB);
    after(() => mounted.unmount());
    return { scratchDirectory: join(mounted.directory, 'scratch') };
  });

  it('costs a herd time and nothing else', async () => {
    expect(await expectWholeHerd(flow, await startHerd(flow, herd))).toHaveLength(herd.length);
  });
});
