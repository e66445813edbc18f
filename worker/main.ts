import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection, Runtime, type Worker } from '@temporalio/worker';
import { Command } from 'commander';
import type { HostDependencies } from '../activities/dependencies';
import { endLostAttempts } from '../activities/transfer/lost-attempts';
import { note } from '../client/cli/output/print';
import { loadConfig } from '../client/config/load';
import { parseRoles, roles, type Role } from '../client/config/worker-roles';
import { openTemporal } from '../client/open-temporal';
import { compose } from './compose';
import { histogramBuckets } from './cache-metrics';
import { startLiveness } from './liveness';
import { createLogger, createTemporalLogger, type Logger } from './logger';
import { readOperatorWords } from './operator-words';
import { createWorkers, FORCE_AFTER_GRACE_MS } from './roles';
import { ensureStandingWorkflows } from './standing-workflows';
import { errorMessage } from '../lib/error-message';

/** A worker gives up, and says so, on a server that does not answer for so long. */
const CONNECT_TIMEOUT_MS = 10_000;
/** For closing everything when all work has ended, a silent database or server included. */
const CLOSE_TIMEOUT_MS = 20_000;
/** How long a server may need to notice that the workers are gone, and how often their states are read until then. */
const FAREWELL_MS = 3000;
const STATE_INTERVAL_MS = 100;

/**
 * A worker process: every role by default. Ends with 0 after SIGTERM or SIGINT, when what ran has finished or was
 * handed back.
 */
async function main(): Promise<void> {
  const options = new Command('image-volume-cache worker')
    .option('--roles <roles>', `comma-separated: ${roles.join(', ')}`, parseRoles, [...roles])
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory')
    .parse()
    .opts<{ roles: Role[]; config?: string; data?: string }>();
  const { config } = loadConfig({ path: options.config, data: options.data });
  const words = readOperatorWords(process.env);
  const logger = createLogger(config.worker.logLevel);
  const { address, namespace } = config.temporal;
  if (address === 'embedded')
    throw new Error(
      'temporal.address: got embedded, which only `ivc up` starts; set it to host:port, or TEMPORAL_ADDRESS',
    );

  const metrics = installRuntime(config.worker.metricsPort, logger);
  const tls = config.temporal.tls || undefined;
  const connection = openTemporal({ address, tls, connectTimeout: CONNECT_TIMEOUT_MS });
  await connection.ensureConnected();
  const native = await NativeConnection.connect({ address, tls });
  const composition = await compose({ config, roles: options.roles, connection, logger, words });
  const workers = await createWorkers(composition.roles, {
    connection: native,
    namespace,
    shutdownGraceTime: config.worker.shutdownGrace,
  });
  const liveness = await startLiveness(config.worker.livenessPort, () =>
    findTrouble(workers, () => composition.database.ping()),
  );

  const { control, host } = composition.roles;
  if (host) await endLost(host, logger);
  if (control) await ensureStandingWorkflows({ ...control, logger });

  const stop = createStop(workers, {
    logger,
    atMostMs: config.worker.shutdownGrace + FORCE_AFTER_GRACE_MS + CLOSE_TIMEOUT_MS,
  });
  // A terminal's Ctrl-C and the supervisor's SIGTERM come as a pair: `once` would let the second one kill a step in its
  // middle.
  process.on('SIGTERM', stop).on('SIGINT', stop);
  const running = runAll(workers, stop);
  const hostId = composition.roles.host?.hostId;
  logger.info(
    { roles: options.roles, hostId, address, namespace, metricsUrl: metrics, livenessUrl: liveness.url },
    'worker polls',
  );
  process.stdout.write(
    `${JSON.stringify({ ready: true, metricsUrl: metrics, livenessUrl: liveness.url, roles: options.roles, hostId })}\n`,
  );
  let ending: Awaited<typeof running> | undefined;
  try {
    ending = await running;
  } finally {
    await liveness.close();
    await composition.close();
    await connection.close();
    // The SDK refuses to close what a worker still uses.
    if (ending === 'ended') await native.close();
    logger.info('worker stopped');
  }
  // The SDK's open waits would keep the process.
  if (ending === 'left') logger.flush(() => process.exit());
}

/** Where it cannot be done, their heartbeats time out. */
async function endLost(host: HostDependencies, logger: Logger): Promise<void> {
  try {
    const ended = await endLostAttempts(host);
    if (ended.length > 0) logger.info({ ended }, 'transfers of a lost worker of this host start again');
  } catch (error) {
    logger.warn(
      { error: String(error) },
      'transfers of a lost worker of this host start again when their heartbeats time out',
    );
  }
}

/** @returns where Prometheus reads. Core binds the port at once; 0 switches the endpoint off. */
function installRuntime(metricsPort: number, logger: Logger): string | undefined {
  Runtime.install({
    logger: createTemporalLogger(logger),
    // Signals are ours: a second one must not skip the graceful stop.
    shutdownSignals: [],
    telemetryOptions: {
      logging: { forward: {}, filter: { core: 'WARN', other: 'ERROR' } },
      ...(metricsPort === 0
        ? {}
        : {
            metrics: {
              prometheus: {
                bindAddress: `127.0.0.1:${metricsPort}`,
                countersTotalSuffix: true,
                histogramBucketOverrides: histogramBuckets,
              },
            },
          }),
    },
  });
  return metricsPort === 0 ? undefined : `http://127.0.0.1:${metricsPort}/metrics`;
}

/**
 * @returns what begins the graceful stop, once however often it is called. It ends by itself, and the process at the
 * latest after `atMostMs`.
 */
function createStop(
  workers: readonly Worker[],
  { logger, atMostMs }: { logger: Logger; atMostMs: number },
): (why: string) => void {
  let stopping = false;
  return (why) => {
    if (stopping) {
      logger.info({ why }, 'the worker is stopping already; SIGKILL ends it at once');
      return;
    }
    stopping = true;
    logger.info({ why, atMostMs }, 'the worker stops: it accepts no new work, running work may finish');
    const endAtOnce = (): void => {
      logger.error({ atMostMs }, 'the worker could not stop in time and ends now; other workers continue its work');
      logger.flush(() => process.exit(1));
    };
    // Keeps no process alive whose work is done.
    setTimeout(endAtOnce, atMostMs).unref();
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
}

/**
 * Runs all until one fails; then the others are stopped too, so that a half worker never stays.
 * @returns when all have ended; `left`: all work has, but the SDK still waits for a server that says nothing.
 */
async function runAll(workers: readonly Worker[], stop: (why: string) => void): Promise<'ended' | 'left'> {
  let failure: { error: unknown } | undefined;
  const run = async (worker: Worker): Promise<void> => {
    try {
      await worker.run();
    } catch (error) {
      failure ??= { error };
      stop(errorMessage(error));
    }
  };
  const over = new AbortController();
  const ended = Promise.all(workers.map(run)).then(() => 'ended' as const);
  const ending = await Promise.race([ended, untilOnlyFarewells(workers, over.signal)]);
  over.abort();
  if (failure !== undefined) throw failure.error;
  return ending;
}

async function untilOnlyFarewells(workers: readonly Worker[], over: AbortSignal): Promise<'left'> {
  const isDone = (worker: Worker): boolean => ['STOPPED', 'FAILED'].includes(worker.getState());
  try {
    while (!workers.every(isDone)) await sleep(STATE_INTERVAL_MS, undefined, { signal: over });
    await sleep(FAREWELL_MS, undefined, { signal: over });
  } catch (error) {
    if (!over.aborted) throw error;
  }
  return 'left';
}

async function findTrouble(
  workers: readonly Worker[],
  pingDatabase: () => Promise<unknown>,
): Promise<string | undefined> {
  const idle = workers.find((worker) => worker.getState() !== 'RUNNING');
  if (idle) return `the worker of ${idle.options.taskQueue} is ${idle.getState()}`;
  await pingDatabase();
  return undefined;
}

main().catch((error: unknown) => {
  note(`image-volume-cache worker: ${errorMessage(error)}`.split('\n'));
  process.exit(1);
});
