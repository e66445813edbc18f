import { uploadVolume } from '../../client/uploads';
import { GiB, MiB } from '../../workflows/contract/bytes';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import { startRealGlance } from '../support/glance/real-glance';
import { isSameGuest, writeAsGuest, type QemuDisk } from '../support/images/qemu';
import { expectCleanSlate, until, useStack } from '../support/stack/flows';

const START_TIMEOUT_MS = 300_000;

const flow = useStack(async ({ after }) => {
  const glance = await startRealGlance();
  after(() => glance.stop());
  return { imagesEndpoint: glance.endpoint };
}, START_TIMEOUT_MS);

const diskOf = ({ connection }: Pick<CreateVolumeResult, 'connection'>): QemuDisk => {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return { filename: connection.path, format: connection.format };
};

describe('with a real Glance', () => {
  it.each(['raw', 'qcow2'] as const)(
    'a volume that was uploaded as %s comes back byte for byte',
    async (diskFormat) => {
      const { image } = await flow.upload(`of-${diskFormat}`);
      const volume = await flow.create(image);
      await writeAsGuest(diskOf(volume), { offset: 3 * MiB, bytes: MiB });
      const request = { volumeId: volume.volumeId, name: 'golden', diskFormat };
      const { imageId, result } = await uploadVolume(flow.stack.cache, request, { wait: true });
      const uploaded = await flow.stack.images.getImage(imageId);
      expect(uploaded).toMatchObject({
        name: 'golden',
        status: 'active',
        owner: volume.projectId,
        minDiskGiB: 1,
        diskFormat,
      });
      expect(uploaded).toMatchObject({ hashValue: result.hashValue, virtualSizeBytes: volume.sizeBytes });
      const again = await flow.create(uploaded);
      expect(again).toMatchObject({ outcome: 'miss', sizeBytes: GiB });
      expect(await isSameGuest(diskOf(volume), diskOf(again))).toBe(true);
      await expectCleanSlate(flow.stack);
    },
  );

  it('a cancelled upload leaves no image', async () => {
    const { image } = await flow.upload('cancelled', { virtualBytes: 512 * MiB });
    const volume = await flow.create(image);
    const { stack } = flow;
    const { imageId, workflowId } = await uploadVolume(stack.cache, { volumeId: volume.volumeId }, { wait: false });
    const handle = stack.client.workflow.getHandle(workflowId);
    await until('its record', async () => {
      const { status } = await stack.images.getImage(imageId).catch(() => ({ status: 'absent' }));
      return status !== 'absent';
    });
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    await expect(stack.images.getImage(imageId)).rejects.toMatchObject({ type: 'ImageNotFound' });
    await expectCleanSlate(stack);
  });
});
