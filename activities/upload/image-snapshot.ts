import type { BackendName } from '../../workflows/contract/ids';
import type { ImageSnapshot } from '../../workflows/contract/upload';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { isRunning, workflowExecution } from '../kit/runs';

/**
 * Takes the snapshot that an image is made of, or compared with: the volume as it is at one moment. It has no row: its marker names the run, without which
 * the reconciler removes it. Heartbeats. Idempotent. Undo: `removeImageSnapshot`.
 * @throws VolumeNotFound, VolumeInUse, NoSpace (final); ToolFailed, BackendUnavailable (retried).
 */
export function createTakeImageSnapshot(deps: BackendDependencies, name: BackendName) {
  return async function takeImageSnapshot({ imageId, ...snapshot }: ImageSnapshot): Promise<void> {
    const backend = backendHeld(deps, name);
    const { snapshotId, volumeId, projectId, sizeBytes } = snapshot;
    const of = { snapshotId, volumeId, projectId, name: `for image ${imageId}`, sizeBytes };
    const run = workflowExecution();
    const marker = { kind: 'snapshot', installation: deps.installation, ...of, run } as const;
    const first = { stage: 'cloning', summary: `taking a snapshot of volume ${volumeId}` } as const;
    await keepingAlive(createHeartbeatReporter(), first, async ({ signal }) => {
      await backend.ensureSnapshot(marker, { signal });
    });
    // A try that was given up and comes late may find its run ended: nobody else would remove the snapshot then.
    if (!(await isRunning(deps, run))) await backend.ensureSnapshotAbsent({ snapshotId, volumeId });
  };
}

/** The absent is done. @throws BackendUnavailable (retried). */
export function createRemoveImageSnapshot(deps: BackendDependencies, name: BackendName) {
  return async function removeImageSnapshot({ snapshotId, volumeId }: ImageSnapshot): Promise<void> {
    await backendHeld(deps, name).ensureSnapshotAbsent({ snapshotId, volumeId });
  };
}
