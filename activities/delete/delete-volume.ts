import { isGrpcCancelledError, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { z } from 'zod';
import { scopeOf } from '../../db/scope';
import { markDeleting, findVolume, markDeleted, revertDeleting } from '../../db/volumes';
import { recordVolumeEvent } from '../../db/events';
import type { Caller } from '../../workflows/contract/event-kinds';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { ControlDependencies, BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { deleteEntry } from '../kit/delete-entry';
import { callerSchema, parseRequest, projectId, uuid } from '../kit/request';
import { findLiveRun, workflowExecution } from '../kit/runs';
import { goOnAfterReset } from '../kit/created-volume';
import { hasCreating, removeGivenUp } from '../../db/creates';
import { workflowTypes } from '../../workflows/contract/names';
import { deletableStatuses } from '../../workflows/contract/volume';

const deleteRequestSchema = z.strictObject({
  volumeId: uuid,
  projectId: projectId.optional(),
  force: z.boolean('true or false').optional(),
  cascade: z.boolean().optional(),
  ...callerSchema,
});

export type BeginDeleteOutcome =
  | { kind: 'absent'; volumeId: VolumeId }
  | { kind: 'delete'; volumeId: VolumeId; backend: BackendName }
  /** They are to be deleted first. */
  | { kind: 'has-snapshots'; volumeId: VolumeId; snapshotIds: SnapshotId[] }
  | { kind: 'creating'; volumeId: VolumeId; backend: BackendName; workflowId: string; runId: string };

export interface DeleteStep extends Caller {
  volumeId: VolumeId;
  force?: boolean;
}

/** Milliseconds for which one try holds its slot. Most creates end within a few hundred of them. */
const MOST_WAIT_MS = 1000;

/**
 * Marks the volume `deleting` by compare-and-set. Idempotent.
 * @throws InvalidRequest, VolumeInUse, VolumeHasSnapshots, VolumeNotReady; VolumeNotFound where the request names a project that has never had it (final).
 */
export function createBeginDelete(deps: ControlDependencies) {
  return async function beginDelete(input: unknown): Promise<BeginDeleteOutcome> {
    const { by, requestId, cascade = false, force: forced, ...request } = parseRequest(deleteRequestSchema, input);
    if (forced && request.projectId !== undefined) {
      const allowed = 'without projectId only: it is for operators';
      throw new Failure('InvalidRequest', { field: 'force', value: 'true', allowed });
    }
    const volumeId = request.volumeId as VolumeId;
    const scope = scopeOf(request.projectId as ProjectId | undefined);
    const begun = await markDeleting(deps.database, { volumeId, scope, forced });
    if (begun.kind === 'in-use') {
      const source = { by, requestId, ...workflowExecution() };
      const detail = { usedBy: begun.by };
      await recordVolumeEvent(deps.database, { kind: 'volume.delete-refused', volumeId, detail, ...source });
      throw new Failure('VolumeInUse', { volumeId, by: begun.by });
    }
    if (begun.kind === 'reimaging')
      throw new Failure('VolumeNotReady', { volumeId, state: begun.kind, allowed: 'any other state' });
    if (begun.kind === 'held') {
      const allowed = `available, or ${deletableStatuses.join(', ')}`;
      throw new Failure('VolumeNotReady', { volumeId, state: begun.status, allowed });
    }
    if (begun.kind === 'has-snapshots') {
      const { snapshotIds } = begun;
      if (!cascade) throw new Failure('VolumeHasSnapshots', { volumeId, snapshots: nameSome(snapshotIds) });
      return { kind: 'has-snapshots', volumeId, snapshotIds };
    }
    if (begun.kind === 'absent' && scope !== 'all projects') throw new Failure('VolumeNotFound', { volumeId });
    return begun.kind === 'deleted' ? { kind: 'absent', volumeId } : { ...begun, volumeId };
  };
}

const NAMED_SNAPSHOTS = 10;

function nameSome(snapshotIds: SnapshotId[]): string {
  const more = snapshotIds.length > NAMED_SNAPSHOTS ? ', …' : '';
  return `${snapshotIds.slice(0, NAMED_SNAPSHOTS).join(', ')}${more}`;
}

/**
 * Cancels the create by both ids of its row and answers when that run has closed: only then nobody writes into the
 * volume any more. A run that still makes other volumes is waited for and not cancelled: it passes over this one. By force
 * it is terminated: nothing of it is undone, and what a late step of it makes of a row that is not `creating` is removed.
 * @throws StillRunning (retried): the create may need a slot of this very queue to end, so the wait gives its own back
 * now and then.
 */
export function createCancelCreate(deps: ControlDependencies) {
  return async function cancelCreate(creator: { workflowId: string; runId: string; force?: boolean }): Promise<void> {
    const { workflowId, force } = creator;
    const runId = await findLiveRun(deps, creator);
    if (runId === undefined) return;
    const run = deps.temporal.workflow.getHandle(workflowId, runId);
    try {
      const { type } = await run.describe();
      const makesOthers =
        type === workflowTypes.createVolumesFromImage && (await hasCreating(deps.database, { runId: creator.runId }));
      if (!makesOthers && force) return void (await run.terminate('its volume is deleted by force'));
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
 * @throws VolumeInUse, VolumeHasSnapshots (final; the row is as it was before), BackendUnavailable (retried).
 */
export function createDeleteVolume(deps: ControlDependencies, name: BackendName) {
  return async function deleteVolume({ volumeId, ...caller }: Omit<DeleteStep, 'force'>): Promise<void> {
    const backend = backendHeld(deps, name);
    // An earlier try has seen an opener and given the row back: nothing may be deleted behind that row's back.
    const row = await findVolume(deps.database, { volumeId, scope: 'all projects' });
    // Its project and an operator may delete it at the same time, each in a run of its own.
    if (row?.state === 'deleted') return;
    if (row?.state !== 'deleting')
      throw new Failure('VolumeInUse', { volumeId, by: 'a process that had it open a moment ago' });
    const opener = await backend.findOpener(volumeId);
    if (opener !== undefined) {
      const source = { ...caller, ...workflowExecution() };
      await revertDeleting(deps.database, { volumeId, usedBy: opener, source });
      throw new Failure('VolumeInUse', { volumeId, by: opener });
    }
    try {
      await backend.ensureVolumeAbsent(volumeId);
    } catch (error) {
      // Such as no row tells of.
      if (isFailure(error, 'VolumeHasSnapshots')) {
        const source = { ...caller, ...workflowExecution() };
        await revertDeleting(deps.database, { volumeId, usedBy: `snapshots ${error.details.snapshots}`, source });
      }
      throw error;
    }
  };
}

/** `deleting` -> `deleted`; answers the retired parent that lost its last clone. Idempotent. */
export function createFinishDelete(deps: ControlDependencies) {
  return async function finishDelete({
    volumeId,
    force: forced,
    ...caller
  }: DeleteStep): Promise<{ freedEntry?: FreedEntry }> {
    return await markDeleted(deps.database, { volumeId, forced, source: { ...caller, ...workflowExecution() } });
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
