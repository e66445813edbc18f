import { endUpload, type UploadFailure } from '../../db/held-uploads';
import type { Caller } from '../../workflows/contract/event-kinds';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';

/** How an upload that held its volume has ended. */
export interface UploadEnd extends Caller {
  /** Undefined: its image is there. */
  failure?: UploadFailure;
}

/** Ends the run's hold of its volume. Idempotent; without a hold nothing is done. */
export function createEndUpload(deps: ControlDependencies) {
  return async function endUploadHold({ failure, by, requestId }: UploadEnd): Promise<void> {
    const run = workflowExecution();
    await endUpload(deps.database, { held: run, failure, source: { by, requestId, ...run } });
  };
}
