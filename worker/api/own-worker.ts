import { Client } from '@temporalio/client';
import type { ImageVolumeCache } from '../../client/connection';
import type { Logger } from '../../client/logger';
import { compose } from '../compose';
import { connectForWorkers } from '../connect-worker';
import { refuseEmbedded } from '../external';
import { createWorkers } from '../roles';
import { ensureStandingWorkflows } from '../standing-workflows';

/** A control worker in the process of the API, and the API's client, whose creates it begins at once. */
export interface OwnWorker {
  cache: ImageVolumeCache;
  /** Resolves, with the reason, where it has ended before it was stopped. */
  ended: Promise<string>;
  /** Lets what runs end, which the worker's grace bounds. */
  stop(): Promise<void>;
}

/**
 * Starts it. It holds the backends too where this host reaches them, so that a hit is cloned here.
 * @throws ConfigError, Error as a worker that cannot start.
 */
export async function startOwnWorker(cache: ImageVolumeCache, logger: Logger): Promise<OwnWorker> {
  const { loaded } = cache.settings;
  const { config } = loaded;
  refuseEmbedded(loaded);
  const { address, namespace } = config.temporal;
  const { connection, native } = await connectForWorkers(address, loaded.temporalAccess());
  const composition = await compose({ config, roles: ['control'], connection, logger, holdBackends: true });
  const workers = await createWorkers(composition.roles, {
    connection: native,
    namespace,
    shutdownGraceTime: config.worker.shutdownGrace,
  });
  const { control } = composition.roles;
  if (control) await ensureStandingWorkflows({ ...control, logger });
  let stopping = false;
  const running = Promise.allSettled(workers.map((worker) => worker.run()));
  return {
    // Only over the connection of the worker are creates handed to it.
    cache: { ...cache, eager: new Client({ connection: native, namespace }) },
    ended: new Promise((resolve) => {
      void running.then(() => stopping || resolve('the worker of the API has ended'));
    }),
    stop: async () => {
      stopping = true;
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      await composition.close();
      await Promise.all([connection.close(), native.close()]);
    },
  };
}
