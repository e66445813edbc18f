import { Client } from '@temporalio/client';
import { openTemporal } from '../../../client/open-temporal';
import { NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { typedFailures } from '../../../worker/typed-failures';
import { createBackendActivities, createControlActivities, createHostActivities } from '../../../activities/index';
import type { VolumeBackend } from '../../../activities/backends/backend';
import { createGlanceClient } from '../../../activities/glance/client';
import type { ImageService } from '../../../activities/glance/image-service';
import { loadConfig } from '../../../client/config/load';
import { roles } from '../../../client/config/worker-roles';
import type { Database } from '../../../db/client';
import { compose } from '../../../worker/compose';
import { createLogger } from '../../../client/logger';
import { createTemporalLogger } from '../../../worker/temporal-logger';
import type { RoleDependencies, Slots } from '../../../worker/roles';
import type { BackendName } from '../../../workflows/contract/ids';
import { taskQueues } from '../../../workflows/contract/names';
import { createMigratedDatabase } from '../database/database';
import { ensureWorkflowBundle } from './workflow-bundle';
import { createFaultInjector, type FaultInjector } from './faults';
import { listDirectory, type BackendListing } from './listing';
import { startTestImageService } from '../glance/image-service';
import { undoneOnFailure, type Undos } from '../machine/undos';
import { InventoryProbe } from '../database/inventory-probe';

/** Time that a waiter waits before it makes sure that its flight still runs. */
const SAFETY_INTERVAL = '2s';
/** So that no case evicts what another one needs. */
const MAX_ENTRIES = 10_000;
/** As in the product's own worker: the default is 12 s here, and tests wait for what a step reports. */
const HEARTBEAT_INTERVAL_MS = 500;
const SHUTDOWN = { shutdownGraceTime: '2s', shutdownForceTime: '5s' } as const;

/** A stack whose worker runs in this process, with faults to inject where Temporal calls activities. All its parts are real. */
export interface EveryStepStack {
  client: Client;
  database: Database;
  inventory: InventoryProbe;
  images: ImageService;
  backend: BackendName;
  /** Where workflows are started. */
  taskQueue: string;
  /** Of its workflows, by the names that the product gives them. */
  ids: ReturnType<typeof taskQueues>['ids'];
  faults: FaultInjector;
  /** For images to upload. */
  samplesDirectory: string;
  volumesDirectory: string;
  scratchDirectory: string;
  listing: BackendListing;
  stop(): Promise<void>;
}

/** Where everything lies, other than in files and in the image service of the tests. */
export interface StepPlace {
  /** Its section of `temporal.yaml`. */
  backend: Record<string, unknown>;
  listing: BackendListing;
  imagesEndpoint: string;
}

export interface EveryStepOptions {
  place?: StepPlace;
  /** The backend as its worker has it, with something between. */
  wrapBackend?: (backend: VolumeBackend) => VolumeBackend;
  /** Top-level sections of `temporal.yaml` besides ours. */
  config?: Record<string, unknown>;
  /** Of the section `scratch`. */
  scratch?: Record<string, unknown>;
  /** Activities that run at once; default: as many as there is room for. */
  slots?: Slots;
  /** Whether steps may take as long as the product lets them; default: a moment, so that one that hangs is soon timed out. */
  fullTimeouts?: boolean;
  /** So many hosts reach the backend, and none of them runs what is to be done on a host; a step that nobody takes there is soon given up. */
  lostHosts?: number;
}

export async function startEveryStepStack(options: EveryStepOptions = {}): Promise<EveryStepStack> {
  return await undoneOnFailure((undos) => makeStack(options, undos));
}

async function makeStack(options: EveryStepOptions, undos: Undos): Promise<EveryStepStack> {
  const suffix = randomBytes(3).toString('hex');
  const backend = `steps-${suffix}` as BackendName;
  const queues = taskQueues(`s${suffix}-`);
  const directory = mkdtempSync(join(tmpdir(), 'ivc-steps-'));
  undos.after(() => rmSync(directory, { recursive: true, force: true }));
  const samplesDirectory = join(directory, 'samples');
  const volumesDirectory = volumesIn(directory);
  const scratchDirectory = join(directory, 'scratch');
  mkdirSync(samplesDirectory);
  const testDatabase = await createMigratedDatabase();
  undos.after(() => testDatabase.drop());
  const { backend: section, listing, imagesEndpoint } = options.place ?? (await placeInFiles(directory, undos));
  const address = process.env['IVC_TEST_TEMPORAL_ADDRESS'] ?? '';
  const configPath = join(directory, 'temporal.yaml');
  const settings = {
    temporal: { address, taskQueuePrefix: queues.prefix },
    database: { url: testDatabase.url },
    images: { endpoint: imagesEndpoint },
    createSafetyInterval: SAFETY_INTERVAL,
    scratch: { directory: scratchDirectory, downloadsAtOnce: 8, conversionsAtOnce: 4, ...options.scratch },
    schedules: { refresh: 'off', reconcile: 'off', evict: 'off' },
    backends: { [backend]: { ...section, cache: { maxCount: MAX_ENTRIES } } },
    ...options.config,
  };
  writeFileSync(configPath, stringify(settings));
  const { config } = loadConfig({ path: configPath, data: join(directory, 'data'), env: {} });

  const logger = createLogger('fatal');
  Runtime.install({
    logger: createTemporalLogger(logger),
    shutdownSignals: [],
    telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
  });
  const connection = openTemporal({ address });
  undos.after(() => connection.close());
  await connection.ensureConnected();
  const native = await NativeConnection.connect({ address });
  undos.after(() => native.close());
  const { lostHosts = 0 } = options;
  const composition = await compose({
    config,
    roles: lostHosts > 0 ? ['control', 'backend'] : roles,
    connection,
    logger,
    hostSlots: options.slots?.host,
  });
  undos.after(() => composition.close());
  const further = await Promise.all(
    Array.from({ length: Math.max(0, lostHosts - 1) }, async (_none, index) => {
      const scratch = { ...config.scratch, directory: join(directory, `scratch-${index}`) };
      const composed = await compose({ config: { ...config, scratch }, roles: ['backend'], connection, logger });
      undos.after(() => composed.close());
      return composed;
    }),
  );
  const { wrapBackend } = options;
  if (wrapBackend) wrapAll(composition.roles, wrapBackend);
  const client = new Client({ connection });
  const faults = createFaultInjector(client);
  const workers = await createWorkers(composition.roles, { ...options, connection: native, faults });
  // One connection takes one worker a queue.
  for (const composed of further) {
    const own = await NativeConnection.connect({ address });
    undos.after(() => own.close());
    workers.push(...(await createWorkers(composed.roles, { ...options, connection: own, faults })));
  }
  const images = createGlanceClient({ endpoint: imagesEndpoint });
  undos.after(() => images.close());
  const running = Promise.all(workers.map((worker) => worker.run()));
  undos.after(async () => {
    faults.releaseAll();
    for (const worker of workers) worker.shutdown();
    await running;
  });

  return {
    client,
    database: testDatabase.database,
    inventory: new InventoryProbe(testDatabase.database, backend),
    images,
    backend,
    taskQueue: queues.control,
    ids: queues.ids,
    faults,
    samplesDirectory,
    volumesDirectory,
    scratchDirectory,
    listing,
    stop: () => undos.run(),
  };
}

async function placeInFiles(directory: string, undos: Undos): Promise<StepPlace> {
  const imageService = await startTestImageService(join(directory, 'images'));
  undos.after(() => imageService.stop());
  const volumes = volumesIn(directory);
  return {
    backend: { driver: 'file', directory: volumes },
    listing: listDirectory(volumes),
    imagesEndpoint: imageService.url,
  };
}

function volumesIn(directory: string): string {
  return join(directory, 'volumes');
}

/** All roles of this process share one map. */
function wrapAll({ backend: role }: RoleDependencies, wrap: (backend: VolumeBackend) => VolumeBackend): void {
  const opened = role?.backends as Map<BackendName, VolumeBackend> | undefined;
  for (const [name, backend] of opened ?? []) opened?.set(name, wrap(backend));
}

interface HarnessWorkers extends EveryStepOptions {
  connection: NativeConnection;
  faults: FaultInjector;
}

/** As the product's own worker, with the harness's interceptors of activities and, in the bundle, of timeouts. */
async function createWorkers(
  { control, backend, host }: RoleDependencies,
  { connection, faults, slots, fullTimeouts = false, lostHosts = 0 }: HarnessWorkers,
): Promise<Worker[]> {
  const payloadConverterPath = require.resolve('../../../worker/payload-converter');
  const options: WorkerOptions[] = [];
  if (control) {
    const timeouts = fullTimeouts ? undefined : require.resolve('./step-timeouts');
    const interceptorModule = lostHosts > 0 ? require.resolve('./lost-host-timeouts') : timeouts;
    const workflowBundle = { codePath: await ensureWorkflowBundle(interceptorModule) };
    options.push({
      taskQueue: control.queues.control,
      workflowBundle,
      activities: createControlActivities(control),
      maxConcurrentActivityTaskExecutions: slots?.control,
    });
  }
  if (backend) {
    for (const name of backend.backends.keys())
      options.push({
        taskQueue: backend.queues.backend(name),
        activities: createBackendActivities(backend, name),
        maxConcurrentActivityTaskExecutions: slots?.backend,
      });
  }
  if (host) {
    options.push({
      taskQueue: host.queues.host(host.hostId),
      activities: createHostActivities(host),
      maxConcurrentActivityTaskExecutions: slots?.host,
    });
  }
  const shared = {
    connection,
    ...SHUTDOWN,
    maxHeartbeatThrottleInterval: HEARTBEAT_INTERVAL_MS,
    dataConverter: { payloadConverterPath },
    interceptors: { activity: [faults.intercept, typedFailures] },
  };
  return await Promise.all(options.map((own) => Worker.create({ ...shared, ...own })));
}
