// oxlint-disable-next-line import/no-unassigned-import -- it acts before the others are loaded.
import '../../client/compile-cache';
import { Runtime } from '@temporalio/worker';
import { Command } from 'commander';
import { openIdentity } from '../../activities/keystone/identity';
import { connectClient, type ImageVolumeCache } from '../../client/connection';
import { requireApiAccess } from '../../client/config/api-access';
import { readApiTls } from '../../client/config/api-tls';
import { ConfigError } from '../../client/config/config-error';
import { note } from '../../client/cli/output/print';
import { exitCodes, ImageVolumeCacheError } from '../../client/errors';
import { createLogger, type Logger } from '../../client/logger';
import { errorMessage } from '../../lib/error-message';
import { splitAddress } from '../../lib/listen-address';
import { createApiMetrics } from './api-metrics';
import { startOwnWorker } from './own-worker';
import { CORES_REMAIN, forbidCoreDumps } from '../core-dumps';
import { startProbes } from '../probes';
import { FORCE_AFTER_GRACE_MS } from '../roles';
import { installRuntime } from '../runtime';
import { askKeystone, trustPath, type Authenticate } from '../../api/authentication';
import { followCertificate } from '../../api/follow-certificate';
import { createServer } from '../../api/http-server';
import { stopServer } from '../../api/stop-server';

/** For closing what the API uses when every request is answered, a silent database or server included. */
const CLOSE_TIMEOUT_MS = 5000;

/** The block-storage API as a process: ends with 0 after SIGTERM or SIGINT, when every request is answered. */
async function main(): Promise<void> {
  const options = new Command('image-volume-cache api')
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory')
    .parse()
    .opts<{ config?: string; data?: string }>();
  const stopped = untilSignal();
  const withoutCores = await forbidCoreDumps();
  const connected = await connectClient({ config: options.config, dataDirectory: options.data });
  const { config } = connected.settings.loaded;
  const logger = createLogger(config.worker.logLevel);
  if (!withoutCores) logger.warn({}, CORES_REMAIN);
  const { authenticate, close } = authenticationOf(connected);
  const { availabilityZone, publicUrl, listen, shutdownGrace, limits, metrics } = config.api;
  const metricsUrl = await installRuntime({ host: metrics.address, port: metrics.port }, logger);
  const worker = config.api.worker ? await startOwnWorker(connected, logger) : undefined;
  const cache = worker?.cache ?? connected;
  const readTls = () => readApiTls(cache.settings.loaded);
  const tls = readTls();
  const app = createServer(
    { cache, availabilityZone, publicUrl },
    { authenticate, logger, limits, tls, metrics: createApiMetrics() },
  );
  const files = Object.values(config.api.tls ?? {});
  const unfollow = followCertificate(app.server, { files, read: readTls, logger });
  const url = (await app.listen(splitAddress(listen))).replace(/^http:/, tls === undefined ? 'http:' : 'https:');
  let stopping = false;
  const probes = await startProbes({
    host: metrics.address,
    port: metrics.livenessPort,
    findDeath: () => undefined,
    findTrouble: async () => {
      await (await cache.inventory()).ping();
      return stopping ? 'the API stops' : undefined;
    },
  });
  const { livenessUrl, readinessUrl } = probes;
  const urls = { url, metricsUrl, livenessUrl, readinessUrl };
  logger.info(urls, 'the block-storage API listens');
  process.stdout.write(`${JSON.stringify({ ready: true, ...urls })}\n`);
  const why = await (worker === undefined ? stopped : Promise.race([stopped, worker.ended]));
  stopping = true;
  logger.info({ why, atMostMs: shutdownGrace }, 'the block-storage API stops: open requests are answered first');
  const workerGrace = worker === undefined ? 0 : config.worker.shutdownGrace + FORCE_AFTER_GRACE_MS;
  endAfter(shutdownGrace + workerGrace + CLOSE_TIMEOUT_MS, logger);
  unfollow();
  await stopServer(app, { graceMs: shutdownGrace });
  await worker?.stop();
  await Promise.all([probes.close(), close(), cache.close()]);
  // With it the metrics end, and nothing keeps this process alive: no worker is here that would end it.
  await Runtime.instance().shutdown();
  logger.info('the block-storage API has stopped');
}

/** A second signal changes nothing: the stop is bounded. */
async function untilSignal(): Promise<NodeJS.Signals> {
  return await new Promise((resolve) => process.on('SIGTERM', resolve).on('SIGINT', resolve));
}

/** Keeps no process alive whose work is done. */
function endAfter(ms: number, logger: Logger): void {
  setTimeout(() => {
    logger.error({ atMostMs: ms }, 'the block-storage API could not stop in time and ends now');
    logger.flush(() => process.exit(exitCodes.failed));
  }, ms).unref();
}

function authenticationOf({ settings }: ImageVolumeCache): { authenticate: Authenticate; close: () => Promise<void> } {
  const { config } = settings.loaded;
  const access = requireApiAccess(settings.loaded);
  if (access.auth === 'none') return { authenticate: trustPath(config.defaultProjectId), close: async () => undefined };
  const keystone = openIdentity(access.identity);
  return { authenticate: askKeystone(keystone, { cacheMs: config.api.tokenCache }), close: () => keystone.close() };
}

main().catch((error: unknown) => {
  note(errorMessage(error));
  // Parts that were started before keep this process alive, and nobody else ends it.
  process.exit(exitCodeOf(error));
});

function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return exitCodes.usage;
  return error instanceof ImageVolumeCacheError ? error.exitCode : exitCodes.failed;
}
