import { listAttachmentsOf } from '../../db/attachments';
import { recordVolumeEvent } from '../../db/events';
import type { Caller, EventKind } from '../../workflows/contract/event-kinds';
import type { FailureType } from '../../workflows/contract/failures';
import { uuidPattern } from '../../workflows/contract/ids';
import type { NewsOfVolume, VolumeNews } from '../../workflows/contract/server-events';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';

export interface ServersTold extends NewsOfVolume, Caller {}

/**
 * Tells the servers of which there are attachments of a volume what has become of it, by the cloud's compute service, where there is one. That it does not
 * know one of them is recorded with an event. Idempotent.
 * @throws ComputeServiceUnavailable, IdentityUnavailable, CredentialsRefused, DatabaseUnavailable (retried); InvalidRequest for an ambiguous catalogue.
 */
export function createTellServers(deps: ControlDependencies) {
  return async function tellServers({ volumeId, event, status, ...caller }: ServersTold): Promise<void> {
    if (deps.compute === undefined) return;
    const attachments = await listAttachmentsOf(deps.database, [volumeId]);
    const ids = attachments.flatMap(({ instanceId }) => instanceId ?? []).filter((id) => uuidPattern.test(id));
    const { unknown } = await deps.compute.tell({ event, status, volumeId, serverIds: [...new Set(ids)] });
    if (unknown.length > 0)
      await note(deps, { volumeId, event, error: 'ComputeServiceUnavailable', unknown, ...caller });
  };
}

/** Records that the servers of a volume could not be told, with an event. Idempotent. */
export function createNoteUntold(deps: ControlDependencies) {
  return async function noteUntold(untold: Untold): Promise<void> {
    await note(deps, untold);
  };
}

export interface Untold extends Omit<NewsOfVolume, 'status'>, Caller {
  error: FailureType;
  /** Servers that the compute service does not know. */
  unknown?: string[];
}

/** Those of whose message is: the compute service has not done its part. */
const kinds: Record<VolumeNews['event'], EventKind> = {
  'volume-extended': 'volume.extend-failed',
  'volume-reimaged': 'volume.reimage-failed',
};

async function note(
  { database }: ControlDependencies,
  { volumeId, event, error, unknown, by, requestId }: Untold,
): Promise<void> {
  const detail = { error, told: event, ...(unknown && { unknown: unknown.join(', ') }) };
  const source = { by, requestId, ...workflowExecution() };
  await recordVolumeEvent(database, { kind: kinds[event], volumeId, detail, ...source });
}
