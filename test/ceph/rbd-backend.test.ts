import { randomUUID } from 'node:crypto';
import { createRbdBackend } from '../../activities/backends/rbd/backend';
import type { RbdCluster, RbdPool } from '../../activities/backends/rbd/cluster';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import type { BackendName, InstallationId } from '../../workflows/contract/ids';
import { describeBackend, type BackendPlace } from '../conformance/backend-contract';
import { brand } from '../support/brand';
import { CephCluster } from '../support/ceph/cluster';
import type { QemuDisk } from '../support/images/qemu';

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
