import { Client } from '@temporalio/client';
import { openTemporal } from '../../../client/open-temporal';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { createGlanceClient } from '../../../activities/glance/client';
import type { ImageService } from '../../../activities/glance/image-service';
import type { GetToken } from '../../../activities/glance/transport';
import { openClient, type ImageVolumeCache } from '../../../client/connection';
import type { BackendName } from '../../../workflows/contract/ids';
import { connectDatabase, type Database } from '../../../db/client';
import { createMigratedDatabase, type MigratedDatabase } from '../database/database';
import { choosePort } from '../../../worker/ports';
import { startTestImageService, type TestImageService } from '../glance/image-service';
import { checkout } from '../machine/checkout';
import { undoneOnFailure, type Undos } from '../machine/undos';
import { InventoryProbe } from '../database/inventory-probe';

const READY_TIMEOUT_MS = 120_000;

export interface StackOptions {
  /** One process for each list of roles. */
  workers?: string[][];
  clone?: 'auto' | 'reflink' | 'overlay';
  /** Of the backend's section `cache`. */
  cache?: Record<string, unknown>;
  /** Where hosts mount the backend's directory from; default: they cannot. */
  exported?: string;
  /** Of the section `scratch`. */
  scratch?: Record<string, unknown>;
  /** Top-level sections of `temporal.yaml` that replace ours. */
  config?: Record<string, unknown>;
  /** Names of further backends, each in a directory of its own. */
  otherBackends?: string[];
  /** An image service of another kind, such as a real Glance. */
  imagesEndpoint?: string;
  /** With whose tokens the test itself asks it. */
  getToken?: GetToken;
  /** Of workers, beside what all of them have. */
  environment?: NodeJS.ProcessEnv;
  /** Default: a name that no other stack has. */
  backend?: BackendName;
  /** Where the backend's volumes are, for a file system of another kind. */
  volumesDirectory?: string;
  /** Where the scratch is, for a file system of another kind. */
  scratchDirectory?: string;
  /** A Temporal server of the test's own. */
  temporalAddress?: string;
  /** Of the workers, in place of this checkout: an installed copy. */
  packageDirectory?: string;
  /** A PostgreSQL of the test's own. */
  databaseUrl?: string;
}

export interface WorkerOptions {
  /** One process's roles; default: all. */
  roles?: string[];
  /** A host of its own beside the others: with this scratch directory. */
  scratchDirectory?: string;
  environment?: NodeJS.ProcessEnv;
}

/** Everything a create needs, on the run's Temporal server and PostgreSQL, apart from all other stacks by a prefix and a backend of its own. */
export interface Stack {
  client: Client;
  cache: ImageVolumeCache;
  images: ImageService;
  imageService: TestImageService;
  database: Database;
  inventory: InventoryProbe;
  backend: BackendName;
  /** Where the backend's volumes are. */
  volumesDirectory: string;
  scratchDirectory: string;
  environment: NodeJS.ProcessEnv;
  workers: TestWorker[];
  startWorker(roles?: string[]): Promise<TestWorker>;
  /** The same for a test that does not wait until it is ready. */
  spawnWorker(options?: WorkerOptions): Promise<StartingWorker>;
  stop(): Promise<void>;
}

export interface StartingWorker {
  process: ChildProcess;
  logPath: string;
  /** Rejects when it ends before. */
  ready: Promise<TestWorker>;
  /** SIGTERM by default, and its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Where a worker says that it listens. */
interface WorkerUrls {
  metricsUrl: string;
  livenessUrl: string;
  readinessUrl: string;
}

export interface TestWorker extends Omit<StartingWorker, 'ready'>, WorkerUrls {}

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  return await undoneOnFailure((undos) => makeStack(options, undos));
}

async function makeStack(options: StackOptions, undos: Undos): Promise<Stack> {
  const suffix = randomBytes(3).toString('hex');
  const backend = options.backend ?? (`local-${suffix}` as BackendName);
  const directory = mkdtempSync(join(tmpdir(), 'ivc-stack-'));
  undos.after(() => rmSync(directory, { recursive: true, force: true }));
  const volumesDirectory = options.volumesDirectory ?? join(directory, 'volumes');
  const scratchDirectory = options.scratchDirectory ?? join(directory, 'scratch');
  const testDatabase =
    options.databaseUrl === undefined ? await createMigratedDatabase() : connectOwnDatabase(options.databaseUrl);
  undos.after(() => testDatabase.drop());
  const imageService = await startTestImageService(join(directory, 'images'));
  undos.after(() => imageService.stop());
  const address = options.temporalAddress ?? required('IVC_TEST_TEMPORAL_ADDRESS');
  const imagesEndpoint = options.imagesEndpoint ?? imageService.url;
  const configPath = join(directory, 'temporal.yaml');
  const config = {
    temporal: { address, taskQueuePrefix: `t${suffix}-` },
    database: { url: testDatabase.url },
    images: { endpoint: imagesEndpoint },
    scratch: { directory: scratchDirectory, ...options.scratch },
    // Nothing runs by itself beside what a test starts.
    schedules: { refresh: 'off', reconcile: 'off', evict: 'off' },
    backends: {
      [backend]: {
        driver: 'file',
        directory: volumesDirectory,
        clone: options.clone ?? 'auto',
        cache: options.cache ?? {},
        ...(options.exported !== undefined && { export: options.exported }),
      },
      ...Object.fromEntries(
        (options.otherBackends ?? []).map((name) => [name, { driver: 'file', directory: join(directory, name) }]),
      ),
    },
    ...options.config,
  };
  mkdirSync(volumesDirectory, { recursive: true });
  writeFileSync(configPath, stringify(config));
  const environment = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    IVC_CONFIG: configPath,
    IVC_DATA: join(directory, 'data'),
    ...options.environment,
  };

  const connection = openTemporal({ address });
  undos.after(() => connection.close());
  await connection.ensureConnected();
  const cache = openClient({ config: configPath, dataDirectory: environment.IVC_DATA });
  undos.after(() => cache.close());
  const images = createGlanceClient({ endpoint: imagesEndpoint, getToken: options.getToken });
  undos.after(() => images.close());
  const spawned: StartingWorker[] = [];
  undos.after(() => Promise.all(spawned.map((worker) => worker.stop())));
  const workers: TestWorker[] = [];
  const configOf = (own: WorkerOptions): string => {
    if (own.scratchDirectory === undefined) return configPath;
    const path = join(directory, `temporal-${spawned.length}.yaml`);
    writeFileSync(path, stringify({ ...config, scratch: { ...config.scratch, directory: own.scratchDirectory } }));
    return path;
  };
  const spawnWorker = async (own: WorkerOptions = {}): Promise<StartingWorker> => {
    const worker = await launchWorker(own.roles ?? ['control', 'backend', 'host'], {
      environment: { ...environment, IVC_CONFIG: configOf(own), ...own.environment },
      packageDirectory: options.packageDirectory ?? checkout,
      logPath: join(directory, `worker-${spawned.length}.log`),
    });
    spawned.push(worker);
    return worker;
  };
  const startWorker = async (roles?: string[]): Promise<TestWorker> => {
    const { ready } = await spawnWorker({ roles });
    const worker = await ready;
    workers.push(worker);
    return worker;
  };
  for (const roles of options.workers ?? [undefined]) await startWorker(roles);

  return {
    client: new Client({ connection }),
    cache,
    images,
    imageService,
    database: testDatabase.database,
    inventory: new InventoryProbe(testDatabase.database, backend),
    backend,
    volumesDirectory,
    scratchDirectory,
    environment,
    workers,
    startWorker,
    spawnWorker,
    stop: () => undos.run(),
  };
}

function connectOwnDatabase(url: string): MigratedDatabase {
  const database = connectDatabase(url, { maxConnections: 4, applicationName: 'test' });
  return { url, database, drop: () => database.close() };
}

async function launchWorker(
  roles: string[],
  {
    environment,
    logPath,
    packageDirectory,
  }: { environment: NodeJS.ProcessEnv; logPath: string; packageDirectory: string },
): Promise<StartingWorker> {
  const port = await choosePort(0);
  const log = openSync(logPath, 'a', 0o600);
  const child = spawn(process.execPath, [join(packageDirectory, 'dist/worker/main.js'), '--roles', roles.join(',')], {
    cwd: packageDirectory,
    env: { IVC_METRICS_PORT: String(port), ...environment },
    stdio: ['ignore', 'pipe', log],
  });
  closeSync(log);
  const exited = once(child, 'exit');
  const failure = (what: string) => new Error(`the worker ${what}:\n${readFileSync(logPath, 'utf8')}`);
  let timer: NodeJS.Timeout | undefined;
  const ready = new Promise<WorkerUrls>((done, fail) => {
    if (child.stdout)
      createInterface({ input: child.stdout }).once('line', (line) => done(JSON.parse(line) as WorkerUrls));
    child.once('exit', (code) => fail(failure(`ended with ${code} before it was ready`)));
    timer = setTimeout(() => fail(failure(`was not ready within ${READY_TIMEOUT_MS} ms`)), READY_TIMEOUT_MS);
  }).finally(() => clearTimeout(timer));
  const worker = {
    process: child,
    logPath,
    stop: async (signal: NodeJS.Signals = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal);
        // One that a failed test has left at a SIGSTOP hears it only when it goes on.
        child.kill('SIGCONT');
      }
      await exited;
      return child.exitCode;
    },
  };
  const whenReady = ready.then((urls) => ({ ...worker, ...urls }));
  // A test that kills it before does not await this.
  whenReady.catch(() => undefined);
  return { ...worker, ready: whenReady };
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined)
    throw new Error(`${name} is not set: run the suite through jest, whose global set-up starts the servers`);
  return value;
}
