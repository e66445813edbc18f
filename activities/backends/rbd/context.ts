import { Failure } from '../../../workflows/contract/failures';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import { isCephError, CephError } from './ceph-error';
import type { ClusterIdentity, RbdCluster, RbdPool } from './cluster';
import type { Names } from './names';

/** What every operation of one RBD backend shares. */
export interface RbdContext {
  name: BackendName;
  installation: InstallationId;
  pool: RbdPool;
  cluster: RbdCluster;
  identity: ClusterIdentity;
  names: Names;
  /** Of the claim that was found when the backend was opened. */
  placeId: string;
  /** Sizes of sealed parents, which never change: so that a clone does not open its parent to ask. By image-volume. */
  sealedBytes: Map<string, number>;
}

/** Runs `operation` and turns what Ceph says into the project's failures. `neededBytes`: what `NoSpace` names. */
export async function withFailures<Result>(
  context: Pick<RbdContext, 'name' | 'cluster'>,
  operation: () => Promise<Result>,
  neededBytes = 0,
): Promise<Result> {
  try {
    return await operation();
  } catch (error) {
    throw await toFailure(error, context, neededBytes);
  }
}

/** Bugs pass as they are, and so does what is a failure already. */
export async function toFailure(
  error: unknown,
  { name, cluster }: Pick<RbdContext, 'name' | 'cluster'>,
  neededBytes: number,
): Promise<unknown> {
  if (!(error instanceof CephError)) return error;
  const options = { cause: error };
  // A pool that is full lets its writers wait: that a call timed out may be the only sign of it.
  if (isCephError(error, 'full', 'in-doubt')) {
    const freeBytes = await findFreeBytes(cluster);
    if (isCephError(error, 'full') || freeBytes === 0)
      return new Failure('NoSpace', { backend: name, neededBytes, freeBytes: freeBytes ?? 0 }, options);
  }
  return new Failure('BackendUnavailable', { backend: name, cause: describe(error) }, options);
}

/** @returns undefined where the cluster does not say: what went wrong first is what counts. */
async function findFreeBytes(cluster: RbdCluster): Promise<number | undefined> {
  try {
    return (await cluster.space()).freeBytes;
  } catch {
    return undefined;
  }
}

function describe(error: CephError): string {
  if (isCephError(error, 'in-doubt')) return `Ceph did not answer ${error.call} in time`;
  if (isCephError(error, 'forbidden')) return `Ceph refused our credentials for ${error.call}`;
  if (isCephError(error, 'disconnected')) return `Ceph has closed this client out (${error.message})`;
  return error.message;
}

/** How QEMU and libvirt reach an image of the pool. */
export function connectionOf({ pool, identity }: RbdContext, image: string): Connection {
  const { pool: poolName, namespace, user, conf } = pool;
  return {
    driver: 'rbd',
    pool: poolName,
    ...(namespace !== undefined && { namespace }),
    image,
    format: 'raw',
    user,
    conf,
    monitors: identity.monitors,
  };
}
