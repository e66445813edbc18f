import { join, resolve } from 'node:path';
import type { BackendConfig } from '../../client/config/schema';
import type { BackendName, InstallationId } from '../../workflows/contract/ids';
import type { KnownPlace, VolumeBackend } from './backend';
import { createFileBackend } from './file/backend';

export interface BackendPlace {
  name: BackendName;
  installation: InstallationId;
  /** Where backends without a directory of their own have theirs. */
  dataDirectory: string;
  /** Default: the inventory holds nothing there. */
  known?: KnownPlace;
}

/** Makes the backend that a section of the configuration describes. @throws as the driver says; every failure names what to change. */
export async function createBackend(
  config: BackendConfig,
  { name, installation, dataDirectory, known }: BackendPlace,
): Promise<VolumeBackend> {
  switch (config.driver) {
    case 'file': {
      const directory =
        config.directory === undefined ? join(dataDirectory, 'volumes', name) : resolve(config.directory);
      return await createFileBackend({ name, installation, directory, clone: config.clone, known });
    }
    default:
      throw new Error(`unknown driver: ${JSON.stringify(config.driver satisfies never)}`);
  }
}
