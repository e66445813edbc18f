import { randomUUID } from 'node:crypto';
import type { Caller } from '../workflows/contract/event-kinds';
import type { SnapshotId } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type {
  ChangeSnapshotResult,
  CreateSnapshotInput,
  CreateSnapshotResult,
  DeleteSnapshotResult,
  SnapshotChange,
} from '../workflows/contract/snapshot';
import type { ImageVolumeCache } from './connection';
import type { OfProject } from './inventory';
import { checkUuid } from './object-ids';
import { checkProjectId } from './project-id';
import { runWorkflow, type Ran, type RunOptions } from './run-workflow';

/**
 * Takes a snapshot of an available volume and waits until it is there. The same request with the same `snapshotId` is one snapshot.
 * @throws ImageVolumeCacheError, such as `VolumeInUse` where the backend takes none while a guest writes. Undo: `deleteSnapshot`.
 */
export async function createSnapshot<Options extends RunOptions>(
  cache: ImageVolumeCache,
  input: CreateSnapshotInput,
  options: Options,
): Promise<Ran<CreateSnapshotResult, Options>> {
  const snapshotId = checkUuid('snapshotId', input.snapshotId ?? randomUUID()) as SnapshotId;
  const request = {
    type: workflowTypes.createSnapshot,
    workflowId: cache.queues.ids.createSnapshot(snapshotId),
    conflict: 'USE_EXISTING',
    input: { ...input, snapshotId },
    summary: `snapshot of volume ${input.volumeId}`,
  } as const;
  return await runWorkflow<CreateSnapshotResult, Options>(cache, request, { options });
}

/**
 * Deletes a snapshot; a create that still runs is cancelled first, the deleted is done. Volumes that were made of it stay.
 * @throws ImageVolumeCacheError `SnapshotNotFound` when the project that is named has never had it: without one the absent is done.
 */
export async function deleteSnapshot(
  cache: ImageVolumeCache,
  snapshotId: string,
  { signal, ...input }: Pick<RunOptions, 'signal'> & OfProject & Caller = {},
): Promise<DeleteSnapshotResult> {
  const request = snapshotDeletionOf(cache, snapshotId, input);
  const options = { signal };
  const { result } = await runWorkflow<DeleteSnapshotResult, typeof options>(cache, request, { options });
  return result;
}

/** @returns the run that deletes a snapshot. @throws ImageVolumeCacheError `InvalidRequest` */
export function snapshotDeletionOf(
  cache: ImageVolumeCache,
  snapshotId: string,
  { projectId, by, requestId }: OfProject & Caller,
) {
  const id = checkUuid('snapshotId', snapshotId) as SnapshotId;
  if (projectId !== undefined) checkProjectId(projectId);
  return {
    type: workflowTypes.deleteSnapshot,
    workflowId: cache.queues.ids.deleteSnapshot(id, projectId),
    conflict: 'USE_EXISTING',
    input: { snapshotId: id, projectId, by, requestId },
    summary: `delete snapshot ${id}`,
  } as const;
}

/**
 * Changes name, description or metadata of a snapshot; an operator also what it is said to be.
 * @throws ImageVolumeCacheError `SnapshotNotFound`, `InvalidRequest`
 */
export async function changeSnapshot(
  cache: ImageVolumeCache,
  snapshotId: string,
  { signal, ...input }: SnapshotChange & Pick<RunOptions, 'signal'> & OfProject & Caller,
): Promise<ChangeSnapshotResult> {
  const id = checkUuid('snapshotId', snapshotId) as SnapshotId;
  const options = { signal };
  const request = {
    type: workflowTypes.changeSnapshot,
    workflowId: cache.queues.ids.changeSnapshot(id, randomUUID()),
    conflict: 'FAIL',
    input: { ...input, snapshotId: id },
    summary: `change snapshot ${id}`,
  } as const;
  const { result } = await runWorkflow<ChangeSnapshotResult, typeof options>(cache, request, { options });
  return result;
}
