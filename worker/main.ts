// oxlint-disable-next-line import/no-unassigned-import -- it acts before the others are loaded.
import '../client/compile-cache';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from '@temporalio/worker';
import { Command } from 'commander';
import type { HostDependencies } from '../activities/dependencies';
import { endLostAttempts } from '../activities/transfer/lost-attempts';
import { note } from '../client/cli/output/print';
import { ConfigError } from '../client/config/config-error';
import { loadConfig } from '../client/config/load';
import { parseRoles, roles, type Role } from '../client/config/worker-roles';
import { exitCodes } from '../client/errors';
import type { OpenTelemetry } from '../client/open-telemetry';
import { findTracing } from '../client/tracing';
import { compose } from './compose';
import { connectForWorkers } from './connect-worker';
import { CORES_REMAIN, forbidCoreDumps } from './core-dumps';
import { ExternalUnavailable, refuseEmbedded, requireDatabase, requireTemporal } from './external';
import { createLogger, type Logger } from '../client/logger';
import { readOperatorWords } from './operator-words';
import { startProbes } from './probes';
import { createWorkers, FORCE_AFTER_GRACE_MS } from './roles';
import { installRuntime } from './runtime';
import { ensureStandingWorkflows } from './standing-workflows';
import type * as workerTracingModule from './worker-tracing';
import { errorMessage } from '../lib/error-message';

/** For closing everything when all work has ended, a silent database or server included. */
const CLOSE_TIMEOUT_MS = 20_000;
/** How long a server may need to notice that the workers are gone, and how often their states are read until then. */
const FAREWELL_MS = 3000;
const STATE_INTERVAL_MS = 100;

type WorkerState = ReturnType<Worker['getState']>;
const ENDED: readonly WorkerState[] = ['STOPPED', 'FAILED'];
const IDLE: readonly WorkerState[] = ['INITIALIZED', 'STOPPING', 'DRAINING', 'DRAINED'];

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
  const withoutCores = await forbidCoreDumps();
  const loaded = loadConfig({ path: options.config, data: options.data });
  const { config } = loaded;
  const words = readOperatorWords(process.env);
  const logger = createLogger(config.worker.logLevel);
  if (!withoutCores) logger.warn({}, CORES_REMAIN);
  const { address, namespace } = config.temporal;
  refuseEmbedded(loaded);
  const access = loaded.temporalAccess();
  await requireTemporal({ address, namespace, access });
  await requireDatabase(config.database.url);

  const tracing = findTracing({
    serviceName: 'image-volume-cache-worker',
    onProblem: (problem) => logger.warn({ problem }, 'traces do not reach their collector'),
  });
  const metricsUrl = await installRuntime({ host: config.worker.address, port: config.worker.metricsPort }, logger);
  const { connection, native } = await connectForWorkers(address, access);
  const composition = await compose({ config, roles: options.roles, connection, logger, words, tracing });
  const workers = await createWorkers(composition.roles, {
    connection: native,
    namespace,
    shutdownGraceTime: config.worker.shutdownGrace,
    tracing: tracing && loadWorkerTracing(tracing),
  });
  const probes = await startProbes({
    host: config.worker.address,
    port: config.worker.livenessPort,
    findDeath: () => findWorkerIn(workers, ENDED),
    findTrouble: async () => {
      await composition.database.ping();
      return findWorkerIn(workers, IDLE);
    },
  });

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
  const { livenessUrl, readinessUrl } = probes;
  const urls = { metricsUrl, livenessUrl, readinessUrl };
  logger.info({ roles: options.roles, hostId, address, namespace, ...urls }, 'worker polls');
  process.stdout.write(`${JSON.stringify({ ready: true, ...urls, roles: options.roles, hostId })}\n`);
  let ending: Awaited<typeof running> | undefined;
  try {
    ending = await running;
  } finally {
    await probes.close();
    await composition.close();
    await connection.close();
    // The SDK refuses to close what a worker still uses.
    if (ending === 'ended') await native.close();
    await tracing?.flush();
    logger.info('worker stopped');
  }
  // The SDK's open waits would keep the process.
  if (ending === 'left') logger.flush(() => process.exit());
}

/** Loaded where traces are wanted only. */
function loadWorkerTracing(tracing: OpenTelemetry): workerTracingModule.WorkerTracing {
  const { createWorkerTracing }: typeof workerTracingModule = require('./worker-tracing');
  return createWorkerTracing(tracing);
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

/** @returns which worker is in one of `states`, for people. */
function findWorkerIn(workers: readonly Worker[], states: readonly WorkerState[]): string | undefined {
  const found = workers.find((worker) => states.includes(worker.getState()));
  return found && `the worker of ${found.options.taskQueue} is ${found.getState()}`;
}

main().catch((error: unknown) => {
  note(`image-volume-cache worker: ${errorMessage(error)}`.split('\n'));
  process.exit(exitCodeOf(error));
});

function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return exitCodes.usage;
  return error instanceof ExternalUnavailable ? exitCodes.unavailable : exitCodes.failed;
}
