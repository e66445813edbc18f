import { workflowExecution } from '../records/admit-volume';
import { backendHeld } from '../records/clone-volume';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import type { BackendName } from '../../workflows/contract/ids';
import { createCollector, type Collector } from './collector';

/** One step under way: what its parts share. */
export interface ReconcileRun {
  deps: BackendDependencies;
  backend: VolumeBackend;
  dryRun: boolean;
  collector: Collector;
  workflowId: string;
  runId: string;
  /** Whether something is as yet too young to be judged. */
  isYoung(since: Date | null): boolean;
}

/** @throws BackendUnavailable when this worker does not hold the backend (retried by another). */
export function beginRun(deps: BackendDependencies, name: BackendName, dryRun: boolean): ReconcileRun {
  const { grace } = deps.config.schedules;
  return {
    deps,
    backend: backendHeld(deps, name),
    dryRun,
    collector: createCollector(deps, name),
    ...workflowExecution(),
    isYoung: (since) => since !== null && Date.now() - since.getTime() < grace,
  };
}
