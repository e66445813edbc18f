import { defineQuery } from '@temporalio/workflow';
import type { EvictionStatus } from './contract/eviction';
import type { BackendName, VolumeId } from './contract/ids';
import type { WarmProgress } from './contract/refresh';

/** Where a create stands: what a client needs to show progress with nothing but Temporal. */
export interface CreateProgress {
  stage: 'admitting' | 'acquiring' | 'waiting' | 'cloning' | 'writing' | 'undoing' | 'done';
  volumeId?: VolumeId;
  backend?: BackendName;
  /** The population that this create waits for; its pending activity's heartbeat details are `Progress`. */
  flightWorkflowId?: string;
}

export const progressQuery = defineQuery<CreateProgress>('progress');

/** What `EvictImageCache` is doing, and what it has answered. */
export const evictionStatusQuery = defineQuery<EvictionStatus>('status');

/** What `WarmImageCache` has done and waits for. */
export const warmProgressQuery = defineQuery<WarmProgress>('progress');
