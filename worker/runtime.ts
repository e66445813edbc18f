import { Runtime, type RuntimeOptions } from '@temporalio/worker';
import { joinAddress } from '../lib/listen-address';
import { histogramBuckets } from './cache-metrics';
import type { Logger } from '../client/logger';
import { createTemporalLogger } from './temporal-logger';
import { choosePort, startOnFreePorts, type OnPortMoved } from './ports';

/**
 * Installs the SDK's runtime, once in a process. A port for metrics that is taken moves to a free one.
 * @returns where Prometheus reads; undefined where the port is 0.
 */
export async function installRuntime(
  { host, port: wanted }: { host: string; port: number },
  logger: Logger,
): Promise<string | undefined> {
  if (wanted === 0) {
    Runtime.install(runtimeOptions(logger));
    return undefined;
  }
  const onMoved: OnPortMoved = ({ from, to }) =>
    logger.warn({ from, to }, 'the port for metrics is taken: a free one is used');
  return await startOnFreePorts(
    async () => ({ port: await choosePort(wanted, { what: 'metrics', host, onMoved }) }),
    ({ port }) => {
      const address = joinAddress({ host, port });
      // Core binds the port at once.
      Runtime.install(runtimeOptions(logger, address));
      return `http://${address}/metrics`;
    },
  );
}

/** By these heartbeats who waits for a worker is told soon that none is there any more. */
const WORKER_HEARTBEAT_MS = 2000;

function runtimeOptions(logger: Logger, metricsAddress?: string): RuntimeOptions {
  return {
    workerHeartbeatInterval: WORKER_HEARTBEAT_MS,
    logger: createTemporalLogger(logger),
    // Signals are ours: a second one must not skip the graceful stop.
    shutdownSignals: [],
    telemetryOptions: {
      logging: { forward: {}, filter: { core: 'WARN', other: 'ERROR' } },
      ...(metricsAddress === undefined
        ? {}
        : {
            metrics: {
              prometheus: {
                bindAddress: metricsAddress,
                countersTotalSuffix: true,
                histogramBucketOverrides: histogramBuckets,
              },
            },
          }),
    },
  };
}
