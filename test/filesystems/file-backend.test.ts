import { MiB } from '../../workflows/contract/bytes';
import { describeBackend } from '../conformance/backend-contract';
import { describeReplacements } from '../conformance/replacement-contract';
import { describeSnapshots } from '../conformance/snapshot-contract';
import { describeFileBackend, makeFilePlace } from '../conformance/file-backend-contract';
import { describeWithMounts } from '../support/machine/describe-with-mounts';
import { mountFileSystem, type MountedFileSystem } from '../support/machine/filesystems';

const SIZE_BYTES = 512 * MiB;
const matrix = [
  { type: 'ext4', clone: 'auto', method: 'overlay' },
  { type: 'xfs', clone: 'auto', method: 'reflink' },
  { type: 'xfs', clone: 'overlay', method: 'overlay' },
] as const;

describeWithMounts.each(matrix)('on $type with clone: $clone', ({ type, clone, method }) => {
  let mounted: MountedFileSystem;
  beforeAll(async () => {
    mounted = await mountFileSystem(type, SIZE_BYTES);
  });
  afterAll(async () => {
    await mounted?.unmount();
  });
  const makePlace = async () => await makeFilePlace(mounted.directory, clone);

  describeBackend('the file backend', makePlace);
  describeReplacements('the file backend', makePlace);
  describeSnapshots('the file backend', makePlace);
  describeFileBackend('its directory', makePlace, method);
});

describeWithMounts('reflinks that the file system lacks', () => {
  it('are refused when they are demanded', async () => {
    const mounted = await mountFileSystem('ext4', 32 * MiB);
    try {
      await expect(makeFilePlace(mounted.directory, 'reflink')).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { field: 'clone', value: 'reflink', allowed: expect.stringContaining('no reflinks') },
      });
    } finally {
      await mounted.unmount();
    }
  });
});
