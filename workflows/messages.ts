import { defineQuery } from '@temporalio/workflow';
import type { EvictionStatus } from './contract/eviction';
import type { BackendName, VolumeId } from './contract/ids';
import type { WarmProgress } from './contract/refresh';

/** Where a create stands: all that a client needs to show progress with nothing but Temporal. */
export interface CreateProgress {
  stage: 'admitting' | 'acquiring' | 'waiting' | 'cloning' | 'writing' | 'undoing' | 'done';
  volumeId?: VolumeId;
  /** Where several are made. */
  volumes?: { total: number; made: number; failed: number };
  backend?: BackendName;
  /** The population that this create waits for; its pending activity's heartbeat details are `Progress`. */
  flightWorkflowId?: string;
}

export const progressQuery = defineQuery<CreateProgress>('progress');

/** The jobs of `EvictImageCache`, and its answers. */
export const evictionStatusQuery = defineQuery<EvictionStatus>('status');

/** The pairs that `WarmImageCache` has finished, and those that it waits for. */
export const warmProgressQuery = defineQuery<WarmProgress>('progress');
