import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern, type SnapshotId } from '../../workflows/contract/ids';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import type { CreateSnapshotInput, DeleteSnapshotInput } from '../../workflows/contract/snapshot';
import { boundedText, callerSchema, parseRequest, projectId, uuid, volumeMetadata, volumeName } from '../kit/request';

/** Namespace of the snapshot ids that are derived from workflow ids (RFC 9562, version 5). */
const SNAPSHOT_ID_NAMESPACE = '0f0d5c1e-9a0b-4d58-8a3e-4c1c6d1f7b52';

const createSchema = z.strictObject({
  volumeId: uuid,
  snapshotId: uuid.optional(),
  projectId: projectId.optional(),
  name: volumeName.optional(),
  description: boundedText(MAX_NAME_CHARACTERS).optional(),
  metadata: volumeMetadata.optional(),
  ...callerSchema,
});
const deleteSchema = z.strictObject({ snapshotId: uuid, projectId: projectId.optional(), ...callerSchema });

/** @throws InvalidRequest naming the first field that is wrong, its value and what is allowed (final). */
export function parseCreateSnapshotRequest(input: unknown): CreateSnapshotInput {
  return parseRequest(createSchema, input);
}

/** @throws InvalidRequest (final). */
export function parseDeleteSnapshotRequest(input: unknown): DeleteSnapshotInput {
  return parseRequest(deleteSchema, input);
}

/**
 * A workflow id `snapshot/<uuid>`, with the stack's prefix or without, gives the snapshot's id. With any other it is the input's, else one derived from
 * the workflow id, so that a repeated start is the same snapshot.
 * @throws InvalidRequest when id and input disagree (final).
 */
export function requestedSnapshotId(
  workflowId: string,
  { snapshotId }: Pick<CreateSnapshotInput, 'snapshotId'>,
  prefix: string,
): SnapshotId {
  const ofStack = workflowId.startsWith(prefix) ? workflowId.slice(prefix.length) : workflowId;
  const named = /^snapshot\/(.+)$/.exec(ofStack)?.[1];
  if (named === undefined || !uuidPattern.test(named))
    return (snapshotId ?? uuidV5(workflowId, SNAPSHOT_ID_NAMESPACE)) as SnapshotId;
  if (snapshotId === undefined || snapshotId === named) return named as SnapshotId;
  const allowed = `${named}, the one in the workflow's id`;
  throw new Failure('InvalidRequest', { field: 'snapshotId', value: snapshotId, allowed });
}
