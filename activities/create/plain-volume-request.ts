import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import type { CreatePlainVolumeInput } from '../../workflows/contract/volume';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import {
  boundedText,
  callerSchema,
  parseRequest,
  projectId,
  uuid,
  volumeDescription,
  volumeMetadata,
  volumeName,
  volumeSizeBytes,
} from '../kit/request';

const schema = z.strictObject({
  snapshotId: uuid.optional(),
  sourceVolumeId: uuid.optional(),
  ofAnyProject: z.boolean('true or false').optional(),
  volumeId: uuid.optional(),
  backend: boundedText(40).optional(),
  volumeType: boundedText(MAX_NAME_CHARACTERS).optional(),
  defaultVolumeType: boundedText(MAX_NAME_CHARACTERS).optional(),
  sizeBytes: volumeSizeBytes.optional(),
  projectId: projectId.optional(),
  name: volumeName.optional(),
  description: volumeDescription.optional(),
  metadata: volumeMetadata.optional(),
  acceptUnplaced: z.boolean().optional(),
  ...callerSchema,
});

/** @throws InvalidRequest naming the first field that is wrong, its value and what is allowed (final). */
export function parseCreatePlainVolumeRequest(input: unknown): CreatePlainVolumeInput {
  const request = parseRequest(schema, input);
  const { snapshotId, sourceVolumeId, sizeBytes } = request;
  if (snapshotId !== undefined && sourceVolumeId !== undefined) {
    const allowed = 'nothing beside snapshotId: a volume has one source';
    throw new Failure('InvalidRequest', { field: 'sourceVolumeId', value: sourceVolumeId, allowed });
  }
  if (snapshotId === undefined && sourceVolumeId === undefined && sizeBytes === undefined) {
    const allowed = 'a size in bytes, or snapshotId or sourceVolumeId, whose size is the default';
    throw new Failure('InvalidRequest', { field: 'sizeBytes', value: 'nothing', allowed });
  }
  return request;
}
