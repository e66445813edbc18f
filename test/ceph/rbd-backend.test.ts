import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { runCommand } from '../../activities/command';
import { qemuBlockdev } from '../../client/cli/output/attach';
import { describeBackend, describeRaces, sealSample } from '../conformance/backend-contract';
import { makeRbdPlace } from '../support/ceph/rbd-place';
import { isSameGuest } from '../support/images/qemu';
import { volumeMarker } from '../support/markers';

describeBackend('a pool of Ceph RBD, through librbd', async () => await makeRbdPlace(openLibraryCluster));
// What one does alone follows from its steps, which `rbd-cluster.test.ts` shows to be the same. Each clone of its herd is a dozen processes.
describeRaces('a pool of Ceph RBD, through the rbd tool', async () => await makeRbdPlace(openToolCluster), { herd: 4 });

it('is read by QEMU as the CLI says how', async () => {
  const place = await makeRbdPlace(openLibraryCluster);
  const directory = await mkdtemp(join(tmpdir(), 'ivc-attach-'));
  try {
    const source = await sealSample(place, directory, 'img');
    const connection = await place.backend.ensureClone('img', volumeMarker(place));
    const [, options = ''] = qemuBlockdev(connection).split(' ');
    const copy = join(directory, 'copy');
    const args = ['convert', '--image-opts', options.replace(',node-name=volume', ''), '-O', 'raw', copy];
    await runCommand('qemu-img', args, { timeoutMs: 60_000 });
    expect(await isSameGuest(source, { filename: copy, format: 'raw' })).toBe(true);
  } finally {
    await place.remove();
    await rm(directory, { recursive: true, force: true });
  }
});
