import type { Command } from 'commander';
import { openClient, type ImageVolumeCache } from '../connection';
import type { ConnectOptions } from '../settings';

/** Options of every command that talks to an installation. */
export interface SharedOptions {
  json?: boolean;
  config?: string;
  data?: string;
  address?: string;
  namespace?: string;
}

/** Adds the options that say which installation is meant; each has a default that finds the stack of `ivc up`. */
export function withSharedOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on stdout')
    .option('--config <path>', 'temporal.yaml to use (default: $IVC_CONFIG, ./temporal.yaml, the one of the package)')
    .option('--data <directory>', 'data directory of the embedded stack')
    .option('--address <host:port>', 'Temporal server (default: $TEMPORAL_ADDRESS, the running stack, temporal.yaml)')
    .option('--namespace <name>', 'Temporal namespace');
}

export function toConnectOptions({ config, data, address, namespace }: SharedOptions): ConnectOptions {
  return { config, dataDirectory: data, address, namespace };
}

/** Runs `work` with a client and closes it, whatever happened. */
export async function withClient<T>(options: SharedOptions, work: (cache: ImageVolumeCache) => Promise<T>): Promise<T> {
  const cache = openClient(toConnectOptions(options));
  try {
    return await work(cache);
  } finally {
    await cache.close();
  }
}
