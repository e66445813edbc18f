import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { runCommand } from '../../activities/command';
import type { ContentId } from '../../workflows/contract/ids';
import { qemuBlockdev } from '../../client/cli/output/attach';
import { describeBackend, describeRaces, kinds, sealSample } from '../conformance/backend-contract';
import { describeReplacements } from '../conformance/replacement-contract';
import { describeSnapshots } from '../conformance/snapshot-contract';
import { makeRbdPlace } from '../support/ceph/rbd-place';
import { brand } from '../support/brand';
import { isSameGuest, readGuest, writeAsGuest } from '../support/images/qemu';
import { volumeMarker } from '../support/markers';

describeBackend('a pool of Ceph RBD, through librbd', async () => await makeRbdPlace(openLibraryCluster));
describeReplacements('a pool of Ceph RBD, through librbd', async () => await makeRbdPlace(openLibraryCluster));
describeSnapshots('a pool of Ceph RBD, through librbd', async () => await makeRbdPlace(openLibraryCluster));
describeSnapshots('a pool of Ceph RBD, through the rbd tool', async () => await makeRbdPlace(openToolCluster), {
  brief: true,
});
// The behaviour of one alone follows from its steps, which `rbd-cluster.test.ts` shows to be the same. Each clone of its herd is a dozen processes.
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

it('has its old bytes or its new ones again, wherever a replacement of them was killed', async () => {
  const place = await makeRbdPlace(openLibraryCluster);
  const directory = await mkdtemp(join(tmpdir(), 'ivc-replace-'));
  try {
    const { backend, cluster } = place;
    await sealSample(place, directory, 'img');
    const marker = volumeMarker(place);
    const connection = await backend.ensureClone('img', marker);
    if (connection.driver !== 'rbd') throw new Error(connection.driver);
    const volume = connection.image;
    const begin = () => brand<ContentId>(randomUUID());
    const partial = (attempt: string): string => `${volume}.${attempt}.partial`;
    const disk = place.diskOf(connection);
    await writeAsGuest(disk);
    const old = await readGuest(disk);

    const first = begin();
    await cluster.renameImage(volume, partial(`${first}-old`));
    expect(await backend.describeVolume(marker.volumeId)).toEqual({ kind: 'absent' });
    expect(await backend.settleReplaced(marker.volumeId, first)).toBeUndefined();
    expect(await readGuest(disk)).toEqual(old);

    const second = begin();
    const replacement = { parent: 'img', marker: { ...marker, content: second }, former: null };
    for (const finish of [
      () => backend.settleReplaced(marker.volumeId, second),
      () => backend.ensureReplaced(replacement),
    ]) {
      await backend.ensureReplaced(replacement);
      await cluster.renameImage(volume, partial(second));
      expect(await finish()).toEqual(connection);
      expect(await readGuest(disk)).toEqual(await readGuest(place.parentDiskOf('img')));
    }
    expect(await kinds(backend)).toEqual(['image-volume', 'volume']);
  } finally {
    await place.remove();
    await rm(directory, { recursive: true, force: true });
  }
});
