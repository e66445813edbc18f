import { access, constants } from 'node:fs/promises';
import { Failure } from '../../../workflows/contract/failures';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import { isCephError, CephError } from './ceph-error';
import type { ClusterIdentity, RbdCluster, RbdPool } from './cluster';
import type { Names } from './names';

/** Shared by every operation of one RBD backend. */
export interface RbdContext {
  name: BackendName;
  installation: InstallationId;
  pool: RbdPool;
  cluster: RbdCluster;
  identity: ClusterIdentity;
  names: Names;
  /** Of the claim that was found when the backend was opened. */
  placeId: string;
  /** How many images a volume may read from, one behind the other. */
  maxCloneDepth: number;
  /** Sizes of sealed parents, which never change: so that a clone does not open its parent to ask. By image-volume. */
  sealedBytes: Map<string, number>;
}

/** Runs `operation` and turns Ceph's errors into the project's failures. `neededBytes`: the bytes that `NoSpace` names. */
export async function withFailures<Result>(
  context: Pick<RbdContext, 'name' | 'pool' | 'cluster'>,
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
  { name, pool, cluster }: Pick<RbdContext, 'name' | 'pool' | 'cluster'>,
  neededBytes: number,
): Promise<unknown> {
  if (!(error instanceof CephError)) return error;
  const options = { cause: error };
  // A pool that is full lets its writers wait: that a call timed out may be the only sign of it.
  if (isCephError(error, 'full', 'in-doubt') && !isOpening(error)) {
    const freeBytes = (await findFreeBytes(cluster)) ?? (isCephError(error, 'full') ? 0 : undefined);
    if (freeBytes === 0) return new Failure('NoSpace', { backend: name, neededBytes, freeBytes }, options);
  }
  return new Failure('BackendUnavailable', { backend: name, cause: await describe(error, pool) }, options);
}

/** @throws NoSpace where the pool takes nothing more: writers would be held back, and what has several steps would be half done. */
export async function checkNotFull({ name, cluster }: RbdContext, neededBytes: number): Promise<void> {
  const { freeBytes } = await cluster.space();
  if (freeBytes === 0) throw new Failure('NoSpace', { backend: name, neededBytes, freeBytes });
}

/** @returns undefined where the cluster does not say: the first error is the one that counts. */
async function findFreeBytes(cluster: RbdCluster): Promise<number | undefined> {
  try {
    return (await cluster.space()).freeBytes;
  } catch {
    return undefined;
  }
}

/** Calls that make a connection, of the library and of the tools. */
const isOpening = ({ call }: CephError): boolean =>
  ['rados_conf_read_file', 'rados_connect', 'ceph mon'].includes(call);

/** For operators: nearly every first start fails by a file, a user or a pool, which is named. */
async function describe(error: CephError, { conf, keyring, user, pool, namespace }: RbdPool): Promise<string> {
  const { call, message } = error;
  const isAbsent = isCephError(error, 'absent');
  if (isOpening(error)) {
    for (const file of [conf, ...(keyring === undefined ? [] : [keyring])])
      if (!(await isReadable(file))) return `${file} is not there, or this process may not read it`;
    const itsKeyring = keyring ?? `the keyring that ${conf} names`;
    if (isAbsent) return `${itsKeyring} is not there, or has no key of client.${user}`;
    if (isCephError(error, 'forbidden')) return `Ceph refused our credentials: client.${user} with ${itsKeyring}`;
    if (isCephError(error, 'in-doubt')) return `no monitor that ${conf} names has answered`;
    return `${conf} is not as Ceph reads it (${message})`;
  }
  if (isAbsent && ['rados_ioctx_create', 'rados create'].includes(call)) return `there is no pool ${pool}`;
  if (isAbsent && ['rbd_namespace_exists', 'rbd namespace'].includes(call))
    return `pool ${pool} has no namespace ${namespace}; \`rbd namespace create ${pool}/${namespace}\` makes it`;
  if (isCephError(error, 'forbidden')) return `Ceph refused our credentials: client.${user} lacks rights for ${call}`;
  if (isCephError(error, 'full'))
    return `Ceph refused ${call} as pool ${pool} is full: it knows in some seconds that it is not`;
  if (isCephError(error, 'disconnected')) return `Ceph has closed this client out (${message})`;
  if (call === 'agent') return 'the process with the connection to Ceph ended';
  if (isCephError(error, 'in-doubt')) return `Ceph did not answer ${call} in time`;
  return message;
}

async function isReadable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
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
