import type { Endpoints } from '../../client/config/endpoints';
import type { LoadedConfig } from '../../client/config/load';
import { findProcess } from '../../client/config/process-identity';
import { checkDatabase, checkImages, checkTemporal } from './external';
import { startImageService } from './images';
import type { Layout } from './layout';
import type { Part } from './part';
import { startPostgres } from './postgres';
import { ensureTemporalBinary } from './temporal-binary';
import { startTemporalServer } from './temporal-server';
import { startWorkerProcess } from './worker-process';

export interface StartContext {
  loaded: LoadedConfig;
  layout: Layout;
  /** Tells people. */
  say: (part: string, text: string) => void;
  /** Called with each part as soon as it runs, so that it can be watched and stopped whatever follows. */
  onStarted: (part: Part) => void;
  /** Aborted when the stack is to stop before it was ready. */
  signal: AbortSignal;
}

/** Starts what the configuration does not name elsewhere, then the worker. @returns where everything listens. */
export async function startParts(context: StartContext): Promise<Endpoints> {
  const supervisor = findProcess(process.pid);
  if (!supervisor) throw new Error('the kernel does not show this process in /proc');
  const [temporal, database, images] = await settled([
    provideTemporal(context),
    provideDatabase(context),
    provideImages(context),
  ]);
  const endpoints = { dataDirectory: context.layout.data, supervisor, temporal, database, images };
  return { ...endpoints, worker: await provideWorker(endpoints, context) };
}

async function provideTemporal(context: StartContext): Promise<Endpoints['temporal']> {
  const { loaded, layout, say, onStarted, signal } = context;
  const { address, namespace, tls, taskQueuePrefix, port, uiPort, retention } = loaded.config.temporal;
  if (address !== 'embedded') {
    await checkTemporal({ address, namespace, tls });
    say('temporal', `${address} (configured), namespace ${namespace}`);
    return { address, namespace, embedded: false, taskQueuePrefix };
  }
  const binary = await ensureTemporalBinary({ onProgress: (line) => say('temporal', line), signal });
  const took = stopwatch();
  const server = await startTemporalServer({
    binary: binary.path,
    ...files(layout, 'temporal'),
    databaseFile: layout.temporalFile,
    ...{ namespace, port, uiPort, retentionMs: retention, signal },
    onMoved: sayMoved(say),
  });
  onStarted(server.part);
  say('temporal', `${server.address}, UI ${server.uiUrl} (${took()})`);
  return {
    address: server.address,
    namespace,
    uiUrl: server.uiUrl,
    metricsUrl: server.metricsUrl,
    embedded: true,
    taskQueuePrefix,
  };
}

async function provideDatabase({
  loaded,
  layout,
  say,
  onStarted,
  signal,
}: StartContext): Promise<Endpoints['database']> {
  const { url } = loaded.config.database;
  if (url !== 'embedded') {
    await checkDatabase(url);
    say('postgres', 'configured, answers');
    return { url, embedded: false };
  }
  const took = stopwatch();
  const server = await startPostgres({
    directory: layout.postgres,
    database: DATABASE,
    ...files(layout, 'postgres'),
    signal,
  });
  onStarted(server.part);
  say('postgres', `${server.description}, socket in ${server.socketDirectory} (${took()})`);
  return { url: server.url, embedded: true };
}

const DATABASE = 'image_volume_cache';

async function provideImages({ loaded, layout, say, onStarted, signal }: StartContext): Promise<Endpoints['images']> {
  const { images } = loaded.config;
  if ('endpoint' in images) {
    await checkImages(images.endpoint);
    say('images', `${images.endpoint} (configured)`);
    return { endpoint: images.endpoint, embedded: false };
  }
  const took = stopwatch();
  const service = await startImageService({
    directory: layout.images,
    port: images.port,
    ...files(layout, 'images'),
    onMoved: sayMoved(say),
    signal,
  });
  onStarted(service.part);
  say('images', `${service.endpoint} (${took()})`);
  return { endpoint: service.endpoint, embedded: true };
}

type WithoutWorker = Omit<Endpoints, 'worker'>;

async function provideWorker(
  endpoints: WithoutWorker,
  { loaded, layout, say, onStarted, signal }: StartContext,
): Promise<Endpoints['worker']> {
  const took = stopwatch();
  const { metricsPort, shutdownGrace } = loaded.config.worker;
  const { part, metricsUrl } = await startWorkerProcess({
    env: workerEnvironment(endpoints, loaded),
    ...files(layout, 'worker'),
    ...{ metricsPort, shutdownGraceMs: shutdownGrace, signal },
    onMoved: sayMoved(say),
  });
  onStarted(part);
  say('worker', `all roles${metricsUrl === undefined ? '' : `, metrics ${metricsUrl}`} (${took()})`);
  return { pid: part.process.pid, metricsUrl };
}

function workerEnvironment(
  { temporal, database, images }: WithoutWorker,
  { path, dataDirectory }: LoadedConfig,
): NodeJS.ProcessEnv {
  return {
    ...process.env,
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
    ...(temporal.embedded ? { TEMPORAL_TLS: 'false' } : {}),
    DATABASE_URL: database.url,
    OS_IMAGE_ENDPOINT_OVERRIDE: images.endpoint,
    IVC_CONFIG: path,
    IVC_DATA: dataDirectory,
  };
}

function files(layout: Layout, part: string): { logPath: string; pidPath: string } {
  return { logPath: layout.logPath(part), pidPath: layout.pidPath(part) };
}

function sayMoved(say: StartContext['say']): (what: string, from: number, to: number) => void {
  return (what, from, to) => say(what.split(' ')[0] ?? what, `port ${from} of the ${what} is taken, using ${to}`);
}

function stopwatch(): () => string {
  const started = performance.now();
  return () => `ready in ${Math.round(performance.now() - started)} ms`;
}

/** Waits for all, so that nothing is still starting when the first failure is told. */
async function settled<T extends readonly unknown[]>(promises: { [Index in keyof T]: Promise<T[Index]> }): Promise<T> {
  await Promise.allSettled(promises);
  return (await Promise.all(promises)) as unknown as T;
}
