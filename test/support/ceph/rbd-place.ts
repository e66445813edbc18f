import { randomUUID } from 'node:crypto';
import { createRbdBackend } from '../../../activities/backends/rbd/backend';
import type { RbdCluster, RbdPool } from '../../../activities/backends/rbd/cluster';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import type { BackendPlace } from '../../conformance/backend-contract';
import { brand } from '../brand';
import type { QemuDisk } from '../images/qemu';
import { CephCluster } from './cluster';

const names = { volume: 'volume-{id}', image: 'image-{key}' };

export interface RbdPlace extends BackendPlace {
  cluster: RbdCluster;
  namespace: string;
}

/** A namespace of Cinder's pool, with Cinder's rights. */
export async function makeRbdPlace(
  open: (pool: RbdPool) => RbdCluster,
  { maxCloneDepth }: { maxCloneDepth?: number } = {},
): Promise<RbdPlace> {
  const ceph = CephCluster.ofThisRun();
  const namespace = await ceph.createNamespace();
  const pool: RbdPool = { pool: 'volumes', namespace, conf: ceph.confPath, user: 'cinder', operationTimeoutMs: 15_000 };
  const installation = brand<InstallationId>(randomUUID());
  const cluster = open(pool);
  const openBackend = async (owner: InstallationId) =>
    await createRbdBackend({
      name: brand<BackendName>('ceph'),
      installation: owner,
      pool,
      cluster,
      names,
      maxCloneDepth,
    });
  const disk = (image: string): QemuDisk => ({
    filename: `rbd:volumes/${namespace}/${image}:id=cinder:conf=${ceph.confPath}`,
    format: 'raw',
  });
  return {
    cluster,
    namespace,
    backend: await openBackend(installation),
    reopen: async (owner = installation) => await openBackend(owner),
    installation,
    diskOf: (connection) => disk(connection.driver === 'rbd' ? connection.image : ''),
    parentDiskOf: (name) => disk(`image-${name}`),
    remove: async () => await cluster.close(),
  };
}
