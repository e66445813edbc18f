import { join } from 'node:path';
import { openLibraryCluster } from '../../activities/backends/rbd/library';
import { GiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import { CephCluster } from '../support/ceph/cluster';
import { mountFileSystem } from '../support/machine/filesystems';
import type { Stack, StackOptions } from '../support/stack/stack';
import { startBenchStack, type BenchServers } from './bench-stack';
import { bareFiles, barePool, type BareStorage } from './floors';
import { started } from './parts';

/** The product on one backend, and the same place for bare tools. */
interface Place {
  stack: Stack;
  storage: BareStorage;
}

/** Room for every volume of the bench, as a sparse file. */
const XFS_BYTES = 40 * GiB;
const OSD_BYTES = 64 * GiB;
const BARE_CONNECTIONS = 8;

export async function startOnFiles(servers: BenchServers, method: 'reflink' | 'overlay'): Promise<Place> {
  const mounted = method === 'reflink' ? await mountFileSystem('xfs', XFS_BYTES) : undefined;
  if (mounted !== undefined) started({ stop: () => mounted.unmount() });
  const stack = started(
    await startBenchStack(servers, { clone: method, volumesDirectory: mounted && `${mounted.directory}/volumes` }),
  );
  return { stack, storage: await bareFiles(method, stack.volumesDirectory) };
}

/** A cluster of one node. */
export async function startCeph(servers: BenchServers): Promise<CephCluster> {
  const ceph = await CephCluster.start({ directory: join(servers.directory, 'ceph'), osdBytes: OSD_BYTES });
  started({ stop: () => ceph.stop() });
  return ceph;
}

/** In the pool `volumes`, with Cinder's rights in it. */
export async function startOnCeph(
  servers: BenchServers,
  ceph: CephCluster,
  options: Pick<StackOptions, 'imagesEndpoint'> = {},
): Promise<Place> {
  const backend = 'ceph' as BackendName;
  const pool = { pool: ceph.pools.volumes, user: 'cinder', conf: ceph.confPath };
  const config = { backends: { [backend]: { driver: 'rbd', ...pool } } };
  const stack = started(await startBenchStack(servers, { backend, config, ...options }));
  const connections = Array.from({ length: BARE_CONNECTIONS }, () =>
    openLibraryCluster({ ...pool, operationTimeoutMs: 30_000 }),
  );
  started({ stop: async () => void (await Promise.all(connections.map((connection) => connection.close()))) });
  return { stack, storage: barePool(connections, pool, () => ceph.epoch()) };
}
