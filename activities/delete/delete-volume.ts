import { isGrpcCancelledError, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { z } from 'zod';
import { markDeleting, findVolume, markDeleted, revertDeleting } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { ControlDependencies, BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { deleteEntry } from '../kit/delete-entry';
import { parseRequest, uuid } from '../kit/request';
import { findLiveRun, workflowExecution } from '../kit/runs';
import { goOnAfterReset } from '../kit/created-volume';
import { hasCreating, removeGivenUp } from '../../db/creates';
import { workflowTypes } from '../../workflows/contract/names';

const deleteRequestSchema = z.strictObject({ volumeId: uuid });

export type BeginDeleteOutcome =
  | { kind: 'absent'; volumeId: VolumeId }
  | { kind: 'delete'; volumeId: VolumeId; backend: BackendName }
  | { kind: 'creating'; volumeId: VolumeId; backend: BackendName; workflowId: string; runId: string };

/** Milliseconds for which one try holds its slot. Most creates end within a few hundred of them. */
const MOST_WAIT_MS = 1000;

/** Marks the volume `deleting` by compare-and-set. Idempotent. @throws InvalidRequest, VolumeInUse (final). */
export function createBeginDelete(deps: ControlDependencies) {
  return async function beginDelete(input: unknown): Promise<BeginDeleteOutcome> {
    const volumeId = parseRequest(deleteRequestSchema, input).volumeId as VolumeId;
    const begun = await markDeleting(deps.database, { volumeId });
    if (begun.kind === 'in-use') throw new Failure('VolumeInUse', { volumeId, by: begun.by });
    return { ...begun, volumeId };
  };
}

/**
 * Cancels the create by both ids of its row and answers when that run has closed: only then nobody writes into the
 * volume any more. A run that still makes other volumes is waited for and not cancelled: it passes over this one.
 * @throws StillRunning (retried): the create may need a slot of this very queue to end, so the wait gives its own back
 * now and then.
 */
export function createCancelCreate(deps: ControlDependencies) {
  return async function cancelCreate(creator: { workflowId: string; runId: string }): Promise<void> {
    const { workflowId } = creator;
    const runId = await findLiveRun(deps, creator);
    if (runId === undefined) return;
    const run = deps.temporal.workflow.getHandle(workflowId, runId);
    try {
      const { type } = await run.describe();
      const makesOthers =
        type === workflowTypes.createVolumesFromImage && (await hasCreating(deps.database, { runId: creator.runId }));
      if (!makesOthers) await run.cancel();
      await deps.temporal.withAbortSignal(AbortSignal.timeout(MOST_WAIT_MS), () => run.result());
    } catch (error) {
      if (isGrpcCancelledError(error)) throw new Failure('StillRunning', { workflowId });
      // Closed, or past the namespace's retention: closed all the same.
      if (!(error instanceof WorkflowFailedError || error instanceof WorkflowNotFoundError)) throw error;
    }
  };
}

/**
 * Deletes the volume's bytes unless somebody has it open. Idempotent.
 * @throws VolumeInUse (final; the row is as it was before), BackendUnavailable (retried).
 */
export function createDeleteVolume(deps: ControlDependencies, name: BackendName) {
  return async function deleteVolume({ volumeId }: { volumeId: VolumeId }): Promise<void> {
    const backend = backendHeld(deps, name);
    // An earlier try has seen an opener and given the row back: nothing may be deleted behind that row's back.
    const row = await findVolume(deps.database, { volumeId });
    if (row?.state !== 'deleting')
      throw new Failure('VolumeInUse', { volumeId, by: 'a process that had it open a moment ago' });
    const opener = await backend.findOpener(volumeId);
    if (opener !== undefined) {
      await revertDeleting(deps.database, { volumeId });
      throw new Failure('VolumeInUse', { volumeId, by: opener });
    }
    await backend.ensureVolumeAbsent(volumeId);
  };
}

/** `deleting` -> `deleted`; answers the retired parent that lost its last clone. Idempotent. */
export function createFinishDelete(deps: ControlDependencies) {
  return async function finishDelete({ volumeId }: { volumeId: VolumeId }): Promise<{ freedEntry?: FreedEntry }> {
    return await markDeleted(deps.database, { volumeId });
  };
}

/**
 * Undo of a clone or a write: removes what was made of the volume; the absent is done. The row is fenced first, so that
 * a late try of the step that is undone cannot make a volume available whose bytes are removed here. One that became
 * available before that stays.
 */
export function createRemoveVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeVolume({ volumeId }: { volumeId: VolumeId }): Promise<void> {
    const { runId } = workflowExecution();
    const held = backendHeld(deps, backend);
    const volumeIds = [volumeId];
    const remove = async () =>
      await removeGivenUp(deps.database, { volumeIds, runId, remove: () => held.ensureVolumeAbsent(volumeId) });
    if ((await remove()).length === 0 && (await goOnAfterReset(deps, [volumeId]))) await remove();
  };
}

/** Undo of a population's transfer: removes the image-volume and every attempt at it; the absent is done. */
export function createRemoveImageVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeImageVolume({ imageVolume }: { imageVolume: string }): Promise<void> {
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
  };
}

/**
 * Deletes a retired parent whose last clone is gone. Idempotent.
 * @throws ParentUnusable, ForeignObject: the backend keeps it (final).
 */
export function createDeleteParent(deps: BackendDependencies, backend: BackendName) {
  return async function deleteParent({ entryId }: Pick<FreedEntry, 'entryId'>): Promise<void> {
    const { workflowId } = workflowExecution();
    const deletion = await deleteEntry(deps, backendHeld(deps, backend), { entryId, workflowId });
    if (deletion.kind === 'kept') throw deletion.refusal;
  };
}
