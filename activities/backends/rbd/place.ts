import { randomUUID } from 'node:crypto';
import { Failure } from '../../../workflows/contract/failures';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import type { KnownPlace } from '../backend';
import { checkOwnClaim, placeIdOf, refuseUnexpectedPlace, type Claim } from '../markers';
import type { ClusterIdentity, RbdCluster, RbdPool } from './cluster';
import type { RbdContext } from './context';
import { CLAIM_OBJECT } from './names';

interface Claiming {
  name: BackendName;
  installation: InstallationId;
  pool: RbdPool;
  cluster: RbdCluster;
  identity: ClusterIdentity;
}

/**
 * Claims the pool, or its namespace, for this installation's backend; a second call changes nothing. A pool without a claim may be that of another cluster:
 * where the inventory expects something, nothing is made.
 * @returns the id of the place. @throws ForeignObject when another installation or backend has claimed it; Error which says what is expected there.
 */
export async function claimPool(
  { name, installation, pool, cluster, identity }: Claiming,
  known: KnownPlace,
): Promise<string> {
  const claim: Claim = { installation, backend: name };
  const where = `${describePool(pool)} of cluster ${identity.fsid}`;
  const read = async (): Promise<Claim | undefined> => {
    const bytes = await cluster.readObject(CLAIM_OBJECT);
    return bytes && checkOwnClaim(bytes.toString(), claim, `${CLAIM_OBJECT} in ${where}`);
  };
  const found = await read();
  const there = found === undefined ? `${where} has no claim` : `${where} is the place ${placeIdOf(found)}`;
  await refuseUnexpectedPlace({ claim, found }, known, { there, question: 'Is it the right cluster?' });
  if (found !== undefined) return placeIdOf(found);
  const place = randomUUID();
  if (await cluster.createObject(CLAIM_OBJECT, Buffer.from(JSON.stringify({ ...claim, place })))) return place;
  const other = await read();
  if (other === undefined) throw unavailable(name, 'its claim was removed while the backend was opened');
  return placeIdOf(other);
}

/**
 * Checks that the pool is the one that was claimed. It runs before anything that is missing is believed to be absent.
 * @throws BackendUnavailable when there is no claim, or that of another place; ForeignObject when it is another's.
 */
export async function checkClaim({ name, installation, pool, cluster, placeId }: RbdContext): Promise<void> {
  const bytes = await cluster.readObject(CLAIM_OBJECT);
  if (bytes === undefined) throw unavailable(name, `${describePool(pool)} has no claim: is it the right cluster?`);
  const found = placeIdOf(checkOwnClaim(bytes.toString(), { installation, backend: name }, describePool(pool)));
  if (found !== placeId) throw unavailable(name, `${describePool(pool)} is the place ${found}, not ${placeId}`);
}

function describePool({ pool, namespace }: RbdPool): string {
  return namespace === undefined ? `pool ${pool}` : `pool ${pool}, namespace ${namespace}`;
}

function unavailable(backend: BackendName, cause: string): Failure {
  return new Failure('BackendUnavailable', { backend, cause });
}
