import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRbdBackend } from '../../activities/backends/rbd/backend';
import type { RbdCluster, RbdPool } from '../../activities/backends/rbd/cluster';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { runCommand } from '../../activities/command';
import { qemuBlockdev } from '../../client/cli/output/attach';
import type { BackendName, InstallationId } from '../../workflows/contract/ids';
import { describeBackend, sealSample, type BackendPlace } from '../conformance/backend-contract';
import { brand } from '../support/brand';
import { CephCluster } from '../support/ceph/cluster';
import { isSameGuest, type QemuDisk } from '../support/images/qemu';
import { volumeMarker } from '../support/markers';

const names = { volume: 'volume-{id}', image: 'image-{key}' };

/** A namespace of Cinder's pool, with Cinder's rights. */
async function makePlace(open: (pool: RbdPool) => RbdCluster): Promise<BackendPlace> {
  const ceph = CephCluster.ofThisRun();
  const namespace = await ceph.createNamespace();
  const pool: RbdPool = { pool: 'volumes', namespace, conf: ceph.confPath, user: 'cinder', operationTimeoutMs: 15_000 };
  const installation = brand<InstallationId>(randomUUID());
  const cluster = open(pool);
  const openBackend = async (owner: InstallationId) =>
    await createRbdBackend({ name: brand<BackendName>('ceph'), installation: owner, pool, cluster, names });
  const disk = (image: string): QemuDisk => ({
    filename: `rbd:volumes/${namespace}/${image}:id=cinder:conf=${ceph.confPath}`,
    format: 'raw',
  });
  return {
    backend: await openBackend(installation),
    reopen: async (owner = installation) => await openBackend(owner),
    installation,
    diskOf: (connection) => disk(connection.driver === 'rbd' ? connection.image : ''),
    parentDiskOf: (name) => disk(`image-${name}`),
    remove: async () => await cluster.close(),
  };
}

describeBackend('a pool of Ceph RBD, through librbd', async () => await makePlace(openLibraryCluster));
describeBackend('a pool of Ceph RBD, through the rbd tool', async () => await makePlace(openToolCluster));

it('is read by QEMU as the CLI says how', async () => {
  const place = await makePlace(openLibraryCluster);
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
