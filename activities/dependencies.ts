import type { Client } from '@temporalio/client';
import type { ResolvedConfig } from '../client/config/load';
import type { Database } from '../db/client';
import type { BackendName, HostId, InstallationId } from '../workflows/contract/ids';
import type { taskQueues } from '../workflows/contract/names';
import type { VolumeBackend } from './backends/backend';
import type { ImageService } from './glance/image-service';
import type { ImagePolicy } from './image/policy';
import type { Scratch } from './image/scratch';
import type { SignaturePolicy } from './image/signature-policy';
import type { ToolGuard } from './image/tool-guard';
import type { CacheMetrics } from './metrics';
import type { ComputeService } from './nova/compute-service';
import type { Tenant } from './keystone/find-tenant';
import type { ProjectCheck } from './keystone/project-check';
import type { ScratchQueue } from './transfer/scratch-queue';
import type { Semaphore } from '../lib/semaphore';

/** Every worker has these, whatever its roles. */
export interface ControlDependencies {
  config: ResolvedConfig;
  installation: InstallationId;
  database: Database;
  images: ImageService;
  /** Owns what belongs to no project. */
  internalTenant: Tenant;
  /** Of a create's project; without an identity everything passes. */
  checkProject: ProjectCheck;
  /** Tells servers of their volumes; undefined without an identity. */
  compute?: ComputeService;
  temporal: Client;
  queues: ReturnType<typeof taskQueues>;
  /** The rules for images, and the hash that names them. */
  policy: ImagePolicy;
  policyVersion: string;
  /** The part of the policy that is about who has signed an image. */
  signatures: SignaturePolicy;
  /** Whether the namespace knows our search attributes. */
  searchAttributes: boolean;
  metrics: CacheMetrics;
  /** Backends that this worker holds; the control role alone holds none. */
  backends: ReadonlyMap<BackendName, VolumeBackend>;
  /** The host whose transfers this very process runs, with the host role. */
  ownHost?: HostId;
}

/** A worker with the backend role has these besides. */
export interface BackendDependencies extends ControlDependencies {
  /** The host whose scratch can be written to these backends. */
  hostId: HostId;
}

/** A worker with the host role has these besides. */
export interface HostDependencies extends BackendDependencies {
  scratch: Scratch;
  /** At most so many conversions run at once on this host; a further one waits its turn. */
  conversions: Semaphore;
  downloads: Semaphore;
  /** How qemu-img is run here. */
  toolGuard: ToolGuard;
  /** Callers that wait for room in a full scratch. */
  scratchQueue: ScratchQueue;
  /**
   * All who wait for room in the scratch: fewer than the slots of the host's queue, since whoever is to give some back
   * needs one.
   */
  waitingRoom: Semaphore;
}
