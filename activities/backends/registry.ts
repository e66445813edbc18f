import type { ResolvedBackend } from '../../client/config/load';
import type { BackendName, InstallationId } from '../../workflows/contract/ids';
import type { KnownPlace, VolumeBackend } from './backend';
import { createFileBackend } from './file/backend';
import { createRbdBackend } from './rbd/backend';
import { openLibraryCluster } from './rbd/library';
import { openRbdCluster } from './rbd/open';

export interface BackendPlace {
  name: BackendName;
  installation: InstallationId;
  /** Default: the inventory holds nothing there. */
  known?: KnownPlace;
}

/** Makes the backend that a section of the configuration describes. @throws as the driver says; every failure names what to change. */
export async function createBackend(
  config: ResolvedBackend,
  { name, installation, known }: BackendPlace,
): Promise<VolumeBackend> {
  switch (config.driver) {
    case 'file': {
      const { directory, clone } = config;
      return await createFileBackend({ name, installation, directory, clone, known });
    }
    case 'rbd': {
      const {
        pool: poolName,
        namespace,
        conf,
        user,
        keyring,
        access,
        operationTimeout,
        names,
        imageStore,
        maxCloneDepth,
      } = config;
      const pool = { pool: poolName, namespace, conf, user, keyring, operationTimeoutMs: operationTimeout };
      const cluster = await openRbdCluster(pool, { access, backend: name });
      const { clone, pool: storePool, verify, pointers } = imageStore;
      const inProcess = cluster.access === 'library';
      return await createRbdBackend({
        name,
        installation,
        pool,
        cluster,
        names,
        maxCloneDepth,
        known,
        ...(clone && { imageStore: { pool: storePool, verify } }),
        ...(clone &&
          pointers &&
          inProcess && {
            pointerStore: {
              pool: storePool,
              cluster: openLibraryCluster({ ...pool, pool: storePool, namespace: undefined }),
            },
          }),
      });
    }
    default:
      throw new Error(`unknown driver: ${JSON.stringify(config satisfies never)}`);
  }
}
