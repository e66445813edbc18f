import { z } from 'zod';
import { updateVolume } from '../../db/volume-changes';
import { scopeOf, type ProjectScope } from '../../db/scope';
import { findVolume } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId, VolumeId } from '../../workflows/contract/ids';
import {
  MAX_IMAGE_METADATA_ENTRIES,
  MAX_METADATA_ENTRIES,
  MAX_NAME_CHARACTERS,
  type ChangeVolumeResult,
} from '../../workflows/contract/volume-changes';
import { heldStatuses } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import {
  boundedText,
  callerSchema,
  expectChange,
  keysToUnset,
  parseRequest,
  projectId,
  storableText,
  uuid,
  volumeDescription,
  volumeMetadata,
  volumeName,
} from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { isNoType, resolveVolumeType } from '../kit/volume-type';
import { quote } from '../../workflows/contract/words';

/** Source: `volume_glance_metadata` of Cinder, whose values are texts of any length. */
const MAX_IMAGE_VALUE_CHARACTERS = 65_535;

const statuses = [...heldStatuses, 'available'] as const;

const changeSchema = z.strictObject({
  volumeId: uuid,
  projectId: projectId.optional(),
  name: volumeName.nullable().optional(),
  description: volumeDescription.nullable().optional(),
  metadata: volumeMetadata.optional(),
  unsetMetadata: keysToUnset(MAX_METADATA_ENTRIES).optional(),
  bootable: z.boolean('true or false').optional(),
  imageMetadata: z.record(boundedText(MAX_NAME_CHARACTERS), storableText(MAX_IMAGE_VALUE_CHARACTERS)).optional(),
  unsetImageMetadata: keysToUnset(MAX_IMAGE_METADATA_ENTRIES).optional(),
  readOnly: z.boolean('true or false').optional(),
  volumeType: boundedText(MAX_NAME_CHARACTERS).optional(),
  status: z.enum(statuses, statuses.join(', ')).optional(),
  ...callerSchema,
});

/**
 * Changes what of a volume is the inventory's alone, with its event. Idempotent.
 * @throws InvalidRequest, VolumeNotFound, VolumeNotReady, QuotaExceeded of another type (final).
 */
export function createChangeVolume(deps: ControlDependencies) {
  return async function applyVolumeChange(input: unknown): Promise<ChangeVolumeResult> {
    const { by, requestId, ...request } = parseRequest(changeSchema, input);
    const { volumeId: given, projectId: project, ...change } = request;
    const volumeId = given as VolumeId;
    expectChange(changeSchema, change, project);
    const scope = scopeOf(project as ProjectId | undefined);
    const changed = await updateVolume(deps.database, {
      volumeId,
      scope,
      change,
      type: await typeFor(deps, { volumeId, scope, volumeType: change.volumeType }),
      source: { by, requestId, ...workflowExecution() },
    });
    switch (changed.kind) {
      case 'absent':
        throw new Failure('VolumeNotFound', { volumeId });
      case 'deleting':
        throw new Failure('VolumeNotReady', { volumeId, state: changed.kind, allowed: 'any other state' });
      case 'not-available':
        throw new Failure('VolumeNotReady', { volumeId, state: changed.state, allowed: 'available' });
      case 'too-many': {
        const { field, entries, most } = changed;
        const allowed = `at most ${most} entries with those that it has`;
        throw new Failure('InvalidRequest', { field, value: `${entries} entries`, allowed });
      }
      case 'over-quota': {
        const { kind: _, ...exceeded } = changed;
        throw new Failure('QuotaExceeded', exceeded);
      }
      case 'changed': {
        const { name, description, metadata, bootable } = changed.volume;
        return { volumeId, name, description, metadata, bootable };
      }
    }
  };
}

/** @returns the type that a volume is to have, if its backend is one of those that it allows. */
async function typeFor(
  deps: ControlDependencies,
  { volumeId, scope, volumeType }: { volumeId: VolumeId; scope: ProjectScope; volumeType: string | undefined },
) {
  if (volumeType === undefined) return undefined;
  // Any backend has volumes without a type.
  if (isNoType(deps, volumeType)) return { volumeType: null, volumeTypeId: null, multiattach: false };
  const volume = await findVolume(deps.database, { volumeId, scope });
  if (volume === undefined) throw new Failure('VolumeNotFound', { volumeId });
  const { name, id, backends, multiattach } = await resolveVolumeType(deps, volumeType, volume.projectId);
  if (!backends.includes(volume.backend)) {
    const allowed = `a type that allows ${volume.backend}, where the volume is`;
    throw new Failure('InvalidRequest', { field: 'volumeType', value: quote(name), allowed });
  }
  return { volumeType: name, volumeTypeId: id, multiattach };
}
