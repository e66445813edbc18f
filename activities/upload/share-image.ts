import { endShare, recordShareEvent } from '../../db/shares';
import { findSnapshot } from '../../db/snapshots';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { SharePlan, UnsharePlan } from '../../workflows/contract/share';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { workflowExecution } from '../kit/runs';
import { SNAPSHOT_PROPERTY } from '../kit/uploaded-image';

/**
 * Says who may use the image of a shared snapshot, when it has its bytes: to those that may already the plan's are added. Idempotent.
 * @returns all members. @throws ImageNotFound, InvalidRequest (the service's own limits) (final); ImageServiceUnavailable (retried).
 */
export function createPublishShare(deps: ControlDependencies) {
  return async function publishShare(plan: SharePlan): Promise<{ members: ProjectId[] }> {
    const { snapshotId, imageId, visibility, members: added, by, requestId } = plan;
    const { images, database } = deps;
    const image = await images.getImage(imageId);
    checkOurs(image, plan);
    await checkNoted(deps, plan);
    if (image.visibility !== visibility) await images.setVisibility(imageId, visibility);
    for (const projectId of added) await images.addMember(imageId, projectId);
    const source = { by, requestId, ...workflowExecution() };
    const detail = { imageId, visibility, members: added };
    await recordShareEvent(database, { snapshotId, kind: 'snapshot.shared', detail, source });
    const members = visibility === 'shared' ? await images.listMembers(imageId) : [];
    return { members: members.map(({ projectId }) => projectId) };
  };
}

/** Two shares of one snapshot at the same moment: the one whose image is not noted removes it. @throws InvalidRequest (final). */
async function checkNoted(
  { database, images }: ControlDependencies,
  { snapshotId, imageId }: SharePlan,
): Promise<void> {
  const row = await findSnapshot(database, { snapshotId, scope: 'all projects' });
  if (row?.sharedImageId === imageId) return;
  await images.deleteImage(imageId);
  const value = `${snapshotId}, which was shared by another request meanwhile, or shared no more`;
  throw new Failure('InvalidRequest', { field: 'snapshotId', value, allowed: 'one request at a time' });
}

/** The owner may change his image's properties: one that no longer says it is the snapshot's is not ours to change. @throws InvalidRequest (final). */
function checkOurs(
  { id, owner, properties }: Image,
  { snapshotId, projectId }: Pick<UnsharePlan, 'snapshotId' | 'projectId'>,
): void {
  if (owner === projectId && properties[SNAPSHOT_PROPERTY] === snapshotId) return;
  const allowed = `an image of snapshot ${snapshotId}: its owner has changed it`;
  throw new Failure('InvalidRequest', { field: 'imageId', value: id, allowed });
}

/**
 * Takes the image of a shared snapshot from the plan's members, or from everybody but its own project. Idempotent.
 * @returns `absent` where the image is gone already.
 */
export function createRevokeShare(deps: ControlDependencies) {
  return async function revokeShare(plan: UnsharePlan): Promise<'absent' | 'revoked'> {
    const { snapshotId, imageId, members, by, requestId } = plan;
    if (imageId === null) return 'absent';
    const { images, database } = deps;
    try {
      const image = await images.getImage(imageId);
      checkOurs(image, plan);
      if (members === undefined) await images.setVisibility(imageId, 'private');
      else if (image.visibility === 'shared')
        for (const projectId of members) await images.removeMember(imageId, projectId);
    } catch (error) {
      if (!isFailure(error, 'ImageNotFound')) throw error;
      await endShare(database, { snapshotId, imageId });
      return 'absent';
    }
    const source = { by, requestId, ...workflowExecution() };
    const detail = { imageId, ...(members && { members }) };
    await recordShareEvent(database, { snapshotId, kind: 'snapshot.unshared', detail, source });
    return 'revoked';
  };
}

/** Gives image-volumes that may be clones of an image bytes of their own, so that it can be deleted. Heartbeats. Idempotent. @throws NoSpace (final); BackendUnavailable (retried). */
export function createFreeParents(deps: BackendDependencies, name: BackendName) {
  return async function freeParents({ imageVolumes }: { imageVolumes: string[] }): Promise<void> {
    const backend = backendHeld(deps, name);
    const first = { stage: 'cloning', summary: 'giving image-volumes bytes of their own' } as const;
    await keepingAlive(createHeartbeatReporter(), first, async ({ signal }) => {
      for (const imageVolume of imageVolumes) await backend.ensureParentIndependent?.(imageVolume, { signal });
    });
  };
}

/** Deletes the image of a snapshot that is shared no more. Idempotent. @returns `in-use` where clones need what it has in its store. @throws ImageServiceUnavailable (retried). */
export function createDeleteSharedImage(deps: ControlDependencies) {
  return async function deleteSharedImage({ snapshotId, imageId }: UnsharePlan): Promise<'deleted' | 'in-use'> {
    if (imageId === null) return 'deleted';
    try {
      await deps.images.deleteImage(imageId);
    } catch (error) {
      if (isFailure(error, 'InvalidRequest')) return 'in-use';
      if (!isFailure(error, 'ImageNotFound')) throw error;
    }
    await endShare(deps.database, { snapshotId, imageId });
    return 'deleted';
  };
}
