import { z } from 'zod';
import { scopeOf } from '../../db/scope';
import { updateSnapshot } from '../../db/snapshot-changes';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId, SnapshotId } from '../../workflows/contract/ids';
import { heldSnapshotStatuses, type ChangeSnapshotResult } from '../../workflows/contract/snapshot';
import { MAX_METADATA_ENTRIES } from '../../workflows/contract/volume-changes';
import type { ControlDependencies } from '../dependencies';
import {
  boundedText,
  callerSchema,
  expectChange,
  keysToUnset,
  parseRequest,
  projectId,
  uuid,
  volumeDescription,
  volumeMetadata,
  volumeName,
} from '../kit/request';
import { workflowExecution } from '../kit/runs';

const statuses = [...heldSnapshotStatuses, 'available'] as const;
const MAX_PROGRESS_CHARACTERS = 255;

const changeSchema = z.strictObject({
  snapshotId: uuid,
  projectId: projectId.optional(),
  name: volumeName.nullable().optional(),
  description: volumeDescription.nullable().optional(),
  metadata: volumeMetadata.optional(),
  unsetMetadata: keysToUnset(MAX_METADATA_ENTRIES).optional(),
  status: z.enum(statuses, statuses.join(', ')).optional(),
  progress: boundedText(MAX_PROGRESS_CHARACTERS).optional(),
  ...callerSchema,
});

/**
 * Changes what of a snapshot is the inventory's alone, with its event. Idempotent.
 * @throws InvalidRequest, SnapshotNotFound (final).
 */
export function createChangeSnapshot(deps: ControlDependencies) {
  return async function applySnapshotChange(input: unknown): Promise<ChangeSnapshotResult> {
    const { by, requestId, ...request } = parseRequest(changeSchema, input);
    const { snapshotId: given, projectId: project, ...change } = request;
    const snapshotId = given as SnapshotId;
    expectChange(changeSchema, change, project);
    const changed = await updateSnapshot(deps.database, {
      snapshotId,
      scope: scopeOf(project as ProjectId | undefined),
      change,
      source: { by, requestId, ...workflowExecution() },
    });
    switch (changed.kind) {
      case 'absent':
        throw new Failure('SnapshotNotFound', { snapshotId });
      case 'not-available': {
        const value = `${snapshotId}, which is ${changed.state}`;
        throw new Failure('InvalidRequest', { field: 'snapshotId', value, allowed: 'a snapshot that is available' });
      }
      case 'too-many': {
        const allowed = `at most ${MAX_METADATA_ENTRIES} entries with those that it has`;
        throw new Failure('InvalidRequest', { field: 'metadata', value: `${changed.entries} entries`, allowed });
      }
      case 'changed': {
        const { name, description, metadata } = changed.snapshot;
        return { snapshotId, name, description, metadata };
      }
    }
  };
}
