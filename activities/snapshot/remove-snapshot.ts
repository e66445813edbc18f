import { scopeOf, type ProjectScope } from '../../db/scope';
import { findSnapshot, markSnapshotDeleted, markSnapshotDeleting } from '../../db/snapshots';
import type { Caller } from '../../workflows/contract/event-kinds';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { workflowExecution } from '../kit/runs';
import { parseDeleteSnapshotRequest } from './snapshot-request';

export type BeginDeleteSnapshotOutcome = { snapshotId: SnapshotId } & (
  | { kind: 'absent' }
  | { kind: 'delete'; backend: BackendName; volumeId: VolumeId }
  | { kind: 'creating'; backend: BackendName; volumeId: VolumeId; workflowId: string; runId: string }
);

/**
 * Marks the snapshot `deleting` by compare-and-set. Idempotent.
 * @throws InvalidRequest, also where it is shared; SnapshotNotFound where the request names a project that has never had it (final).
 */
export function createBeginDeleteSnapshot(deps: ControlDependencies) {
  return async function beginDeleteSnapshot(input: unknown): Promise<BeginDeleteSnapshotOutcome> {
    const request = parseDeleteSnapshotRequest(input);
    const snapshotId = request.snapshotId as SnapshotId;
    const scope = scopeOf(request.projectId as ProjectId | undefined);
    await checkUnshared(deps, { snapshotId, scope });
    const begun = await markSnapshotDeleting(deps.database, { snapshotId, scope });
    if (begun.kind === 'absent' && scope !== 'all projects') throw new Failure('SnapshotNotFound', { snapshotId });
    return begun.kind === 'deleted' ? { kind: 'absent', snapshotId } : { ...begun, snapshotId };
  };
}

/** Other projects would go on with its image, and nobody could end that by the snapshot any more. */
async function checkUnshared(
  { database, images }: ControlDependencies,
  { snapshotId, scope }: { snapshotId: SnapshotId; scope: ProjectScope },
): Promise<void> {
  const row = await findSnapshot(database, { snapshotId, scope });
  if (row?.state !== 'available' || row.sharedImageId === null) return;
  try {
    if ((await images.getImage(row.sharedImageId)).visibility === 'private') return;
  } catch (error) {
    if (isFailure(error, 'ImageNotFound')) return;
    throw error;
  }
  const value = `${snapshotId}, which is shared by image ${row.sharedImageId}`;
  throw new Failure('InvalidRequest', {
    field: 'snapshotId',
    value,
    allowed: 'a snapshot that is not shared: `ivc snapshot unshare` ends it',
  });
}

/** Deletes the snapshot's bytes while its row is `deleting`. Idempotent. @throws ForeignObject (final); BackendUnavailable (retried). */
export function createDeleteSnapshotBytes(deps: BackendDependencies, name: BackendName) {
  return async function deleteSnapshotBytes(ref: { snapshotId: SnapshotId; volumeId: VolumeId }): Promise<void> {
    const { snapshotId } = ref;
    const row = await findSnapshot(deps.database, { snapshotId, scope: 'all projects' });
    if (row?.state === 'deleting') await backendHeld(deps, name).ensureSnapshotAbsent(ref);
  };
}

/** `deleting` -> `deleted`; answers the retired parent that nothing holds any more. Idempotent. */
export function createFinishDeleteSnapshot(deps: ControlDependencies) {
  return async function finishDeleteSnapshot({
    snapshotId,
    ...caller
  }: { snapshotId: SnapshotId } & Caller): Promise<{ freedEntry?: FreedEntry }> {
    return await markSnapshotDeleted(deps.database, { snapshotId, source: { ...caller, ...workflowExecution() } });
  };
}
