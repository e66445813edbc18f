import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createGlanceClient } from '../../activities/glance/client';
import type { ImageService } from '../../activities/glance/image-service';
import { startStack, type Stack, type StackOptions } from '../support/stack/stack';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import { startPostgres } from '../../worker/stack/postgres';
import { startTemporalServer } from '../../worker/stack/temporal-server';

const dist = resolve(__dirname, '../..');

/** The servers as `ivc up` runs them: on disk and durable, each a process of its own. */
export interface BenchServers {
  directory: string;
  temporalMetricsUrl: string;
  imagesUrl: string;
  images: ImageService;
  stop(): Promise<void>;
}

export async function startServers(): Promise<BenchServers> {
  const directory = mkdtempSync(join(tmpdir(), 'ivc-bench-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  const stops: Array<() => Promise<void>> = [async () => rmSync(directory, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next();
  };
  try {
    const binary = await ensureTemporalBinary({ onProgress: (line) => process.stderr.write(`${line}\n`) });
    const temporal = await startTemporalServer({
      binary: binary.path,
      logPath: join(directory, 'temporal.log'),
      databaseFile: join(directory, 'temporal.db'),
    });
    stops.push(temporal.stop);
    const postgres = await startPostgres({
      directory: join(directory, 'postgres'),
      logPath: join(directory, 'postgres.log'),
      durable: true,
    });
    stops.push(postgres.stop);
    const service = await startProcess('worker/stack/image-service/main.js', {
      IVC_IMAGE_SERVICE_DIRECTORY: join(directory, 'images'),
      IVC_IMAGE_SERVICE_HOST: '127.0.0.1',
      IVC_IMAGE_SERVICE_PORT: '0',
    });
    stops.push(() => service.stop());
    const { listening } = service.ready as { listening: string };
    const images = createGlanceClient({ endpoint: listening });
    stops.push(() => images.close());
    process.env['IVC_TEST_TEMPORAL_ADDRESS'] = temporal.address;
    process.env['IVC_TEST_DATABASE_URL'] = postgres.url;
    return { directory, temporalMetricsUrl: temporal.metricsUrl, imagesUrl: listening, images, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A worker with all roles on these servers, whose backend is in `volumesDirectory`. */
export function startBenchStack(servers: BenchServers, options: StackOptions): Promise<Stack> {
  return startStack({ imagesEndpoint: servers.imagesUrl, ...options });
}

/** A worker with one empty workflow, started and awaited the same way: the cost of Temporal itself. */
export async function startEmptyWorker(): Promise<{ taskQueue: string; stop(): Promise<void> }> {
  const worker = await startProcess('test/bench/empty-worker.js', {
    ADDRESS: process.env['IVC_TEST_TEMPORAL_ADDRESS'] ?? '',
  });
  return { taskQueue: 'bench-empty', stop: () => worker.stop() };
}

async function startProcess(
  script: string,
  environment: Record<string, string>,
): Promise<{ ready: unknown; stop(): Promise<void> }> {
  const child: ChildProcess = spawn(process.execPath, [join(dist, script)], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  if (!child.stdout) throw new Error('no stdout');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return {
    ready: JSON.parse(line) as unknown,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
