import { defineQuery } from '@temporalio/workflow';
import type { BackendName, VolumeId } from './contract/ids';

/** Where a create stands: what a client needs to show progress with nothing but Temporal. */
export interface CreateProgress {
  stage: 'admitting' | 'acquiring' | 'waiting' | 'cloning' | 'writing' | 'undoing' | 'done';
  volumeId?: VolumeId;
  backend?: BackendName;
  /** The population that this create waits for; its pending activity's heartbeat details are `Progress`. */
  flightWorkflowId?: string;
}

export const progressQuery = defineQuery<CreateProgress>('progress');
