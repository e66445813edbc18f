import { z } from 'zod';
import { scopeOf } from '../../db/scope';
import { acceptOffer, endOffer, offerVolume } from '../../db/transfers';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId, TransferId, VolumeId } from '../../workflows/contract/ids';
import type { TransferResult } from '../../workflows/contract/transfer';
import type { ControlDependencies } from '../dependencies';
import { callerSchema, parseRequest, projectId, uuid, volumeName } from '../kit/request';
import { workflowExecution } from '../kit/runs';

const keyHash = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal');
const createSchema = z.strictObject({
  transferId: uuid,
  volumeId: uuid,
  projectId: projectId.optional(),
  name: volumeName.optional(),
  keyHash,
  noSnapshots: z.boolean('true or false').optional(),
  ...callerSchema,
});
const acceptSchema = z.strictObject({ transferId: uuid, projectId, keyHash, ...callerSchema });
const deleteSchema = z.strictObject({ transferId: uuid, projectId: projectId.optional(), ...callerSchema });

interface Offer {
  id: TransferId;
  volumeId: VolumeId;
  name: string | null;
  projectId: ProjectId;
}

function resultOf({ id, volumeId, name, projectId: source }: Offer, outcome: TransferResult['outcome']) {
  return { transferId: id, volumeId, name, sourceProjectId: source, outcome };
}

const unknownTransfer = (transferId: string): Failure => new Failure('TransferNotFound', { transferId });

const refusedFor = (volumeId: string, problem: string): Failure =>
  new Failure('InvalidRequest', {
    field: 'volumeId',
    value: `${volumeId}: ${problem}`,
    allowed: 'a volume that goes with all of its snapshots, which are available',
  });

/** Offers a volume, with its event. Idempotent. @throws InvalidRequest, VolumeNotFound, VolumeNotReady (final). */
export function createCreateTransfer(deps: ControlDependencies) {
  return async function createTransfer(input: unknown): Promise<TransferResult> {
    const {
      by,
      requestId,
      projectId: project,
      name,
      noSnapshots = false,
      ...request
    } = parseRequest(createSchema, input);
    const transferId = request.transferId as TransferId;
    const volumeId = request.volumeId as VolumeId;
    const offered = await offerVolume(deps.database, {
      transferId,
      volumeId,
      scope: scopeOf(project as ProjectId | undefined),
      name: name ?? null,
      keyHash: request.keyHash,
      noSnapshots,
      source: { by, requestId, ...workflowExecution() },
    });
    switch (offered.kind) {
      case 'volume-absent':
        throw new Failure('VolumeNotFound', { volumeId });
      case 'not-available':
        throw new Failure('VolumeNotReady', { volumeId, state: offered.state, allowed: 'available' });
      case 'snapshots':
        throw refusedFor(volumeId, offered.problem);
      case 'conflict':
        throw new Failure('InvalidRequest', {
          field: 'transferId',
          value: transferId,
          allowed: 'an id that no transfer has',
        });
      case 'offered':
        return resultOf(offered.transfer, 'offered');
    }
  };
}

/**
 * Gives an offered volume and its snapshots to a project, with their events. Idempotent.
 * @throws InvalidRequest, TransferNotFound (also for a wrong key), VolumeNotReady, QuotaExceeded (final).
 */
export function createAcceptTransfer(deps: ControlDependencies) {
  return async function acceptTransfer(input: unknown): Promise<TransferResult> {
    const { by, requestId, ...request } = parseRequest(acceptSchema, input);
    await deps.checkProject(request.projectId);
    const transferId = request.transferId as TransferId;
    const accepted = await acceptOffer(deps.database, {
      transferId,
      keyHash: request.keyHash,
      projectId: request.projectId as ProjectId,
      source: { by, requestId, ...workflowExecution() },
    });
    switch (accepted.kind) {
      // A caller without the key learns nothing of the offer.
      case 'wrong-key':
      case 'absent':
        throw unknownTransfer(transferId);
      case 'not-offered': {
        const { volumeId, state } = accepted;
        throw new Failure('VolumeNotReady', { volumeId, state, allowed: 'awaiting-transfer' });
      }
      case 'snapshots':
        throw refusedFor(accepted.volumeId, accepted.problem);
      case 'over-quota': {
        const { kind: _, ...exceeded } = accepted;
        throw new Failure('QuotaExceeded', exceeded);
      }
      case 'accepted':
        return resultOf(accepted.transfer, 'accepted');
    }
  };
}

/** Ends an offer, with its event; its volume is available again. A lost reply is told by the event. @throws InvalidRequest, TransferNotFound (final). */
export function createDeleteTransfer(deps: ControlDependencies) {
  return async function deleteTransfer(input: unknown): Promise<TransferResult> {
    const { by, requestId, projectId: project, ...request } = parseRequest(deleteSchema, input);
    const transferId = request.transferId as TransferId;
    const scope = scopeOf(project as ProjectId | undefined);
    const ended = await endOffer(deps.database, {
      transferId,
      scope,
      source: { by, requestId, ...workflowExecution() },
    });
    if (ended === undefined) throw unknownTransfer(transferId);
    return resultOf(ended, 'ended');
  };
}
