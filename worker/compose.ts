import { Client, isGrpcServiceError, type Connection } from '@temporalio/client';
import type { BackendDependencies, ControlDependencies, HostDependencies } from '../activities/dependencies';
import { onCommandStarted } from '../activities/command';
import { describeConfinement } from '../activities/confinement';
import { defaultImagePolicy, policyVersion, type ImagePolicy } from '../activities/image/policy';
import { readHostId } from '../activities/image/host-id';
import { openScratch } from '../activities/image/scratch';
import { openSignaturePolicy, type SignaturePolicy } from '../activities/image/signature-policy';
import type { ToolGuard } from '../activities/image/tool-guard';
import { createScratchQueue } from '../activities/transfer/scratch-queue';
import type { OpenTelemetry } from '../client/open-telemetry';
import type { ResolvedConfig } from '../client/config/load';
import { connectDatabase, type Database } from '../db/client';
import { migrateDatabase } from '../db/migrate';
import { adoptInstallation, bindNamespace, ensureInstallation, noteConfigured } from '../db/installation';
import type { BackendName } from '../workflows/contract/ids';
import { taskQueues } from '../workflows/contract/names';
import type { VolumeBackend } from '../activities/backends/backend';
import { createCacheMetrics, createProcessMetrics } from './cache-metrics';
import { startInventoryGauges } from './inventory-gauges';
import type { Logger } from '../client/logger';
import { openBackends } from './open-backends';
import { openImages } from './open-images';
import type { OperatorWords } from './operator-words';
import { defaultSlots, type RoleDependencies } from './roles';
import type { Role } from '../client/config/worker-roles';
import { ensureSearchAttributes } from './search-attributes';
import { openToolGuard } from './open-tool-guard';
import { errorMessage } from '../lib/error-message';
import { createSemaphore } from '../lib/semaphore';
import { tidyScratch } from '../activities/kit/scratch-use';

/** Connections of one worker process: migrations and supervision have their own. */
const DATABASE_CONNECTIONS = 16;

export interface Composition {
  roles: RoleDependencies;
  database: Database;
  /** Closes what was opened, in reverse. */
  close(): Promise<void>;
}

interface Compose {
  config: ResolvedConfig;
  roles: readonly Role[];
  connection: Connection;
  logger: Logger;
  /** Default: none were said. */
  words?: OperatorWords;
  /** Of the host's queue. */
  hostSlots?: number;
  /** Undefined where no traces are wanted. */
  tracing?: OpenTelemetry;
  /** Whether the control role alone holds the backends too, as far as this host reaches them. */
  holdBackends?: boolean;
}

/**
 * Opens everything that the roles work with: database (migrated), image service, backends, scratch. A failure is named,
 * and nothing stays open.
 */
export async function compose({
  config,
  roles,
  connection,
  logger,
  words = {},
  hostSlots = defaultSlots.host,
  tracing,
  holdBackends = false,
}: Compose): Promise<Composition> {
  if ((await migrateDatabase(config.database.url)) === 'newer')
    logger.warn(
      'the schema of the database is newer than this worker: a newer version has migrated it. Statements of this one may be refused (DatabaseRefused); install the newer version here too, or go back as the manual says (upgrade)',
    );
  const metrics = createProcessMetrics();
  onCommandStarted(metrics.countProcess);
  const database = connectDatabase(config.database.url, {
    maxConnections: DATABASE_CONNECTIONS,
    applicationName: 'image-volume-cache worker',
    onStatement: metrics.countStatement,
  });
  if (words.installation !== undefined) await adoptInstallation(database, words.installation);
  const { namespace } = config.temporal;
  const namespaceId = await findNamespaceId(connection, namespace);
  await bindNamespace(database, { name: namespace, id: namespaceId, moved: words.movedNamespace });
  const { images, internalTenant, checkProject, compute } = await openImages(config, logger);
  const { snapshotBytesCount, ...quotas } = config.quotas;
  await noteConfigured(database, { internalTenant, quotas, snapshotBytesCount });
  const holdsBackends = roles.includes('backend') || roles.includes('host');
  const backends = holdsBackends
    ? await openBackends(config, { database, lostPlace: words.lostPlace })
    : holdBackends
      ? await openReachable(config, database, logger)
      : new Map<BackendName, VolumeBackend>();
  const policy = policyOf(config);
  const signatures = openSignatures(config);
  const control: ControlDependencies = {
    config,
    installation: await ensureInstallation(database),
    database,
    images,
    internalTenant,
    checkProject,
    compute,
    temporal: new Client({
      connection,
      namespace: config.temporal.namespace,
      interceptors: tracing?.interceptors(),
    }),
    queues: taskQueues(config.temporal.taskQueuePrefix),
    policy,
    policyVersion: policyVersion(policy, signatures.version),
    signatures,
    searchAttributes: await ensureSearchAttributes(connection, config.temporal.namespace, logger),
    metrics: createCacheMetrics(Object.keys(config.backends) as BackendName[]),
    backends,
  };
  const { directory } = config.scratch;
  const scratch = roles.includes('host') ? await openScratch({ directory }) : undefined;
  if (scratch) await tidyScratch(database, scratch);
  const hostId = holdsBackends ? (scratch?.hostId ?? (await readHostId(directory))) : undefined;
  const backend: BackendDependencies | undefined = hostId && { ...control, hostId };
  const host: HostDependencies | undefined = backend &&
    scratch && {
      ...backend,
      scratch,
      downloads: createSemaphore(config.scratch.downloadsAtOnce),
      toolGuard: await openLoggedToolGuard(config, logger),
      conversions: createSemaphore(config.scratch.conversionsAtOnce),
      scratchQueue: createScratchQueue(),
      waitingRoom: createSemaphore(Math.ceil(hostSlots / 2)),
    };
  const gauges = startInventoryGauges({
    database: connectDatabase(config.database.url, {
      maxConnections: 1,
      applicationName: 'image-volume-cache metrics',
    }),
    intervalMs: config.worker.metricsInterval,
    logger,
    inventory: roles.includes('control'),
    scratch: scratch && { hostId: scratch.hostId, maxBytes: config.scratch.maxBytes },
  });
  return {
    roles: {
      control: roles.includes('control') ? { ...control, ownHost: scratch?.hostId } : undefined,
      backend: roles.includes('backend') ? backend : undefined,
      host,
    },
    database,
    close: async () => {
      await gauges.close();
      await scratch?.close();
      await images.close();
      await database.close();
    },
  };
}

/** Where they cannot be opened, another worker clones. */
async function openReachable(
  config: ResolvedConfig,
  database: Database,
  logger: Logger,
): Promise<ReadonlyMap<BackendName, VolumeBackend>> {
  try {
    return await openBackends(config, { database, lostPlace: undefined });
  } catch (error) {
    logger.warn(
      { error: errorMessage(error) },
      'the backends are not reached from here: other workers make the clones',
    );
    return new Map();
  }
}

/** gRPC's code for a caller without permission. */
const PERMISSION_DENIED = 7;

/**
 * @returns the server's own id of a namespace, which no other namespace has; undefined where this account has no
 * permission.
 */
async function findNamespaceId(connection: Connection, namespace: string): Promise<string | undefined> {
  try {
    const { namespaceInfo } = await connection.workflowService.describeNamespace({ namespace });
    return namespaceInfo?.id || undefined;
  } catch (error) {
    const code: number | undefined = isGrpcServiceError(error) ? error.code : undefined;
    if (code === PERMISSION_DENIED) return undefined;
    throw error;
  }
}

function policyOf({ policy }: ResolvedConfig): ImagePolicy {
  return { ...defaultImagePolicy, maxVirtualBytes: policy.maxVirtualSize, formats: policy.formats };
}

/** @throws Error that names the key whose files are not as they must be: a worker that trusted nobody would refuse what is fine. */
function openSignatures({ policy: { signatures } }: ResolvedConfig): SignaturePolicy {
  try {
    return openSignaturePolicy(signatures);
  } catch (error) {
    throw new Error(`policy.signatures: ${errorMessage(error)}`, { cause: error });
  }
}

/** Chosen once; the log says what it is. */
async function openLoggedToolGuard(config: ResolvedConfig, logger: Logger): Promise<ToolGuard> {
  const guard = await openToolGuard(config);
  const { holds, missing } = guard.confinement;
  logger[missing.length === 0 ? 'info' : 'warn']({ holds, missing }, describeConfinement(guard.confinement));
  return guard;
}
