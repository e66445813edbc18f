import { z } from 'zod';
import { listAttachmentsOf } from '../../db/attachments';
import { growPromised, promiseExtension, revertExtension } from '../../db/extensions';
import { scopeOf } from '../../db/scope';
import type { Caller } from '../../workflows/contract/event-kinds';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { Extension } from '../../workflows/contract/volume-changes';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { promiseLimitOf } from '../kit/promise-limit';
import { callerSchema, parseRequest, projectId, uuid, volumeSizeBytes } from '../kit/request';
import { workflowExecution } from '../kit/runs';

const extendSchema = z.strictObject({
  volumeId: uuid,
  projectId: projectId.optional(),
  sizeBytes: volumeSizeBytes,
  ...callerSchema,
});

/** One step of an extension that was begun. */
export interface ExtendStep extends Caller, Omit<Extension, 'backend'> {}

/**
 * Promises the larger size by the volume's row. Idempotent. Undo: `revertExtend`.
 * @throws InvalidRequest, VolumeNotFound, VolumeNotReady, NoSpace, QuotaExceeded (final).
 */
export function createBeginExtend(deps: ControlDependencies) {
  return async function beginExtend(input: unknown): Promise<Extension> {
    const { projectId: project, sizeBytes, ...request } = parseRequest(extendSchema, input);
    const volumeId = request.volumeId as VolumeId;
    const promised = await promiseExtension(deps.database, {
      volumeId,
      scope: scopeOf(project as ProjectId | undefined),
      sizeBytes,
      limitOf: (backend) => promiseLimitOf(deps, backend),
    });
    switch (promised.kind) {
      case 'absent':
        throw new Failure('VolumeNotFound', { volumeId });
      case 'not-available':
        throw new Failure('VolumeNotReady', { volumeId, state: promised.state, allowed: 'available' });
      case 'smaller': {
        const allowed = `at least ${promised.formerSizeBytes}, the size that it has (a volume never shrinks)`;
        throw new Failure('InvalidRequest', { field: 'sizeBytes', value: String(sizeBytes), allowed });
      }
      case 'no-room': {
        const { kind: _kind, ...room } = promised;
        throw new Failure('NoSpace', { ...room, freeBytes: Math.max(0, room.mostBytes - room.promisedBytes) });
      }
      case 'over-quota': {
        const { kind: _kind, ...exceeded } = promised;
        throw new Failure('QuotaExceeded', exceeded);
      }
      case 'promised': {
        const { backend, formerSizeBytes } = promised;
        return { volumeId, backend, sizeBytes, formerSizeBytes };
      }
    }
  };
}

export interface Grown {
  openedBy: string | null;
  /** Whether servers have it, which are told. */
  isAttached: boolean;
}

/**
 * Grows the volume on its backend to what was promised, with its event. Idempotent.
 * @throws VolumeNotFound, VolumeNotReady, VolumeInUse where it cannot grow while it is open, NoSpace, InvalidRequest (final);
 *   BackendUnavailable (retried).
 */
export function createGrowVolume(deps: BackendDependencies, name: BackendName) {
  return async function growVolume(step: ExtendStep): Promise<Grown> {
    const { volumeId, sizeBytes, by, requestId } = step;
    const backend = backendHeld(deps, name);
    const grown = await growPromised(deps.database, {
      volumeId,
      sizeBytes,
      source: { by, requestId, ...workflowExecution() },
      grow: async () => {
        const found = await backend.ensureGrown(volumeId, sizeBytes);
        if (found.kind === 'absent') throw new Failure('VolumeNotFound', { volumeId });
        return found;
      },
    });
    if (grown === undefined)
      throw new Failure('VolumeNotReady', { volumeId, state: 'changed meanwhile', allowed: 'available' });
    const attachments = await listAttachmentsOf(deps.database, [volumeId]);
    return { openedBy: grown.openedBy ?? null, isAttached: attachments.some(({ status }) => status === 'attached') };
  };
}

/** Undo: the row has the size that the volume has; one that has grown by then keeps it. Idempotent. */
export function createRevertExtend(deps: BackendDependencies, name: BackendName) {
  return async function revertExtend({ volumeId, sizeBytes, by, requestId }: ExtendStep): Promise<void> {
    const described = await backendHeld(deps, name).describeVolume(volumeId);
    if (described.kind === 'absent') return;
    const source = { by, requestId, ...workflowExecution() };
    await revertExtension(deps.database, { volumeId, sizeBytes, actualBytes: described.sizeBytes, source });
  };
}
