import { requireApiAccess } from '../../client/config/api-access';
import { readApiTls } from '../../client/config/api-tls';
import { findEndpoints, writeEndpoints, type Endpoints } from '../../client/config/endpoints';
import { openIdentity } from '../../activities/keystone/identity';
import type { LoadedConfig, ResolvedConfig } from '../../client/config/load';
import { findProcess } from '../../lib/process-identity';
import { splitAddress } from '../../lib/listen-address';
import { findImagesEndpoint } from '../open-images';
import { requireDatabase, requireImages, requireTemporal } from '../external';
import { startImageServiceProcess } from './image-service-process';
import { startApiProcess } from './api-process';
import type { StackLayout } from './stack-layout';
import type { Part } from './part';
import type { OnPortMoved } from '../ports';
import { startPostgres } from './postgres';
import { ensureTemporalBinary } from './temporal-binary';
import { startTemporalServer } from './temporal-server';
import { startWorkerProcess, type WorkerProcess } from './worker-process';

/** For a part that others find again where it was: starts it once more after it has ended. */
export type StartAgain = () => Promise<Part>;

export interface StartContext {
  loaded: LoadedConfig;
  layout: StackLayout;
  /** Tells people. */
  say: (part: string, text: string) => void;
  /** Called with each part as soon as it runs, so that it can be watched and stopped whatever follows. */
  onStarted: (part: Part, startAgain?: StartAgain) => void;
  /** Aborted when the stack is to stop before it was ready. */
  signal: AbortSignal;
}

/** Starts what the configuration does not name elsewhere, then the worker and the block-storage API. @returns where everything listens. */
export async function startParts(context: StartContext): Promise<Endpoints> {
  requireApiAccess(context.loaded);
  readApiTls(context.loaded);
  const supervisor = findProcess(process.pid);
  if (!supervisor) throw new Error('the kernel does not show this process in /proc');
  const parts = await sideBySide(context, (shared) => ({
    temporal: provideTemporal(shared),
    database: provideDatabase(shared),
    images: provideImages(shared),
  }));
  const endpoints = { dataDirectory: context.layout.data, supervisor, ...parts };
  const ours = await sideBySide(context, (shared) => ({
    worker: provideWorker(endpoints, shared),
    api: provideApi(endpoints, shared),
  }));
  return { ...endpoints, ...ours };
}

/** The first failure ends the others, a build for one, and is told when nothing is starting any more. */
async function sideBySide<Starting extends Record<string, Promise<unknown>>>(
  context: StartContext,
  start: (shared: StartContext) => Starting,
): Promise<{ [Name in keyof Starting]: Awaited<Starting[Name]> }> {
  const failure = new AbortController();
  const starting = start({ ...context, signal: AbortSignal.any([context.signal, failure.signal]) });
  for (const one of Object.values(starting)) one.catch((error: unknown) => failure.abort(error));
  await Promise.allSettled(Object.values(starting));
  failure.signal.throwIfAborted();
  const started = Object.entries(starting).map(async ([name, one]) => [name, await one] as const);
  return Object.fromEntries(await Promise.all(started)) as { [Name in keyof Starting]: Awaited<Starting[Name]> };
}

async function provideTemporal(context: StartContext): Promise<Endpoints['temporal']> {
  const { loaded, layout, say, onStarted, signal } = context;
  const { address, namespace, taskQueuePrefix, port, uiPort, retention } = loaded.config.temporal;
  if (address !== 'embedded') {
    await requireTemporal({ address, namespace, access: loaded.temporalAccess() });
    say('temporal', `${address} (configured), namespace ${namespace}`);
    return { address, namespace, embedded: false, taskQueuePrefix };
  }
  const binary = await ensureTemporalBinary({ onProgress: (line) => say('temporal', line), signal });
  const took = stopwatch();
  const server = await startTemporalServer({
    binary: binary.path,
    ...files(layout, 'temporal'),
    databaseFile: layout.temporalFile,
    namespace,
    port,
    uiPort,
    retentionMs: retention,
    signal,
    onMoved: sayMoved('temporal', say),
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
    await requireDatabase(url);
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
  if ('endpoint' in images || images.service === 'catalogue') {
    const endpoint = await findConfiguredImages(loaded.config);
    await requireImages(endpoint);
    say('images', `${endpoint} (configured)`);
    return { endpoint, embedded: false };
  }
  const took = stopwatch();
  const start = async (port: number, onMoved?: OnPortMoved) =>
    await startImageServiceProcess({ directory: layout.images, port, ...files(layout, 'images'), onMoved, signal });
  const service = await start(images.port, sayMoved('images', say));
  onStarted(service.part, () => startWhereItWas(service.endpoint, start));
  say('images', `${service.endpoint} (${took()})`);
  return { endpoint: service.endpoint, embedded: true };
}

/** Its clients know where it was. */
async function startWhereItWas(
  url: string,
  start: (port: number) => Promise<{ part: Part; endpoint: string }>,
): Promise<Part> {
  const again = await start(Number(new URL(url).port));
  if (again.endpoint === url) return again.part;
  await again.part.stop();
  throw new Error(`${url} is taken by another program`);
}

async function findConfiguredImages(config: ResolvedConfig): Promise<string> {
  const identity = config.identity && openIdentity(config.identity);
  try {
    return await findImagesEndpoint(config, identity);
  } finally {
    await identity?.close();
  }
}

type WithoutOurs = Omit<Endpoints, 'worker' | 'api'>;

/** Beside a worker that migrates the database: requests before that fail, and nobody knows the API before. */
async function provideApi(
  endpoints: WithoutOurs,
  { loaded, layout, say, onStarted, signal }: StartContext,
): Promise<Endpoints['api']> {
  const took = stopwatch();
  const { listen, shutdownGrace } = loaded.config.api;
  const { host, port } = splitAddress(listen);
  const start = async (wanted: number, onMoved?: OnPortMoved) =>
    await startApiProcess({
      env: environmentOf(endpoints, loaded),
      address: { host, port: wanted },
      ...files(layout, 'api'),
      shutdownGraceMs: shutdownGrace,
      onMoved,
      signal,
    });
  const { part, endpoint: url, metricsUrl } = await start(port, sayMoved('api', say));
  onStarted(part, () => startWhereItWas(url, start));
  say('api', `${url} (${took()})`);
  return { url, metricsUrl };
}

async function provideWorker(
  endpoints: WithoutOurs,
  { loaded, layout, say, onStarted, signal }: StartContext,
): Promise<Endpoints['worker']> {
  const took = stopwatch();
  const { metricsPort, shutdownGrace } = loaded.config.worker;
  const start = async () =>
    await startWorkerProcess({
      env: environmentOf(endpoints, loaded),
      ...files(layout, 'worker'),
      shutdownGraceMs: shutdownGrace,
      signal,
    });
  const { part, metricsUrl } = await start();
  onStarted(part, async () => {
    const again = await start();
    noteWorker(layout, again);
    return again.part;
  });
  const port = metricsUrl === undefined ? metricsPort : Number(new URL(metricsUrl).port);
  if (port !== metricsPort) sayMoved('worker', say)({ what: 'metrics', from: metricsPort, to: port });
  say('worker', `all roles${metricsUrl === undefined ? '' : `, metrics ${metricsUrl}`} (${took()})`);
  return { pid: part.process.pid, metricsUrl };
}

/** A worker that was started again may serve its metrics on another port. */
function noteWorker({ data }: StackLayout, { part, metricsUrl }: WorkerProcess): void {
  const endpoints = findEndpoints(data);
  if (endpoints) writeEndpoints({ ...endpoints, worker: { pid: part.process.pid, metricsUrl } });
}

function environmentOf(
  { temporal, database, images }: WithoutOurs,
  { path, dataDirectory }: LoadedConfig,
): NodeJS.ProcessEnv {
  return {
    ...(temporal.embedded ? withoutTemporal(process.env) : process.env),
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
    ...(temporal.embedded ? { TEMPORAL_TLS: 'false' } : {}),
    DATABASE_URL: database.url,
    OS_IMAGE_ENDPOINT_OVERRIDE: images.endpoint,
    IVC_CONFIG: path,
    IVC_DATA: dataDirectory,
  };
}

/** Keys and certificates are for another server. */
function withoutTemporal(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_')));
}

function files(layout: StackLayout, part: string): { logPath: string; pidPath: string } {
  return { logPath: layout.logPath(part), pidPath: layout.pidPath(part) };
}

function sayMoved(part: string, say: StartContext['say']): OnPortMoved {
  return ({ what, from, to }) => say(part, `port ${from} for its ${what} is taken, using ${to}`);
}

function stopwatch(): () => string {
  const started = performance.now();
  return () => `ready in ${Math.round(performance.now() - started)} ms`;
}
