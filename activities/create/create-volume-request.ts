import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern, type VolumeId } from '../../workflows/contract/ids';
import { followNamePattern, followPrefix } from '../../workflows/contract/refresh';
import type { NamedVolume } from '../../workflows/contract/population';
import {
  failurePolicies,
  MAX_VOLUMES,
  type CreateVolumeInput,
  type CreateVolumesInput,
} from '../../workflows/contract/volume';
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

/** Namespace of the volume ids that are derived from workflow ids (RFC 9562, version 5). */
const VOLUME_ID_NAMESPACE = 'c2a5a3de-7c53-4b39-9d0f-6e2a8f0f7a11';

const imageOrFollow = z
  .string('a UUID in lower case, or follow:<name>')
  .refine(
    (given) => uuidPattern.test(given) || followNameOf(given) !== undefined,
    'a UUID in lower case, or follow:<name>',
  );

const requestSchema = z.strictObject({
  imageId: imageOrFollow,
  volumeId: uuid.optional(),
  backend: boundedText(40).optional(),
  volumeType: boundedText(MAX_NAME_CHARACTERS).optional(),
  defaultVolumeType: boundedText(MAX_NAME_CHARACTERS).optional(),
  sizeBytes: volumeSizeBytes.optional(),
  projectId: projectId.optional(),
  name: volumeName.optional(),
  description: volumeDescription.optional(),
  metadata: volumeMetadata.optional(),
  bypassCache: z.boolean().optional(),
  acceptUnplaced: z.boolean().optional(),
  ...callerSchema,
});

const countAllowed = `a whole number from 1 to ${MAX_VOLUMES}`;
const bulkSchema = requestSchema.omit({ volumeId: true, bypassCache: true, acceptUnplaced: true }).extend({
  count: z.number(countAllowed).int(countAllowed).min(1, countAllowed).max(MAX_VOLUMES, countAllowed).optional(),
  volumeIds: z
    .array(uuid, 'a list of UUIDs in lower case')
    .min(1, `1 to ${MAX_VOLUMES} UUIDs`)
    .max(MAX_VOLUMES, `1 to ${MAX_VOLUMES} UUIDs`)
    .optional(),
  // Leaves room for the number behind it.
  name: boundedText(MAX_NAME_CHARACTERS - 1 - String(MAX_VOLUMES).length).optional(),
  onFailure: z.enum(failurePolicies, failurePolicies.join(' or ')).optional(),
});

/**
 * @returns the request for several volumes as given.
 * @throws InvalidRequest naming the first field that is wrong, its value and what is allowed (final).
 */
export function parseCreateVolumesRequest(input: unknown): CreateVolumesInput {
  const request = parseRequest(bulkSchema, input);
  const { count, volumeIds } = request;
  if (count === undefined && volumeIds === undefined)
    throw new Failure('InvalidRequest', { field: 'count', value: 'nothing', allowed: `${countAllowed}, or volumeIds` });
  if (count !== undefined && volumeIds !== undefined) {
    const allowed = 'nothing beside volumeIds, which says how many';
    throw new Failure('InvalidRequest', { field: 'count', value: String(count), allowed });
  }
  const twice = volumeIds?.find((volumeId, index) => volumeIds.indexOf(volumeId) < index);
  if (twice !== undefined)
    throw new Failure('InvalidRequest', { field: 'volumeIds', value: twice, allowed: 'each id once' });
  return request;
}

/** @returns the volumes of a request, in their order: with its ids, else with such as are derived from the workflow's id. */
export function namedVolumesOf(workflowId: string, { count, volumeIds, name }: CreateVolumesInput): NamedVolume[] {
  const ids =
    volumeIds ??
    Array.from({ length: count ?? 0 }, (_, index) => uuidV5(`${workflowId}/${index}`, VOLUME_ID_NAMESPACE));
  return ids.map((volumeId, index) => ({
    volumeId: volumeId as VolumeId,
    name: name === undefined ? null : `${name}-${index + 1}`,
  }));
}

/**
 * @returns the request as given.
 * @throws InvalidRequest naming the first field that is wrong, its value and what is allowed (final).
 */
export function parseCreateVolumeRequest(input: unknown): CreateVolumeInput {
  return parseRequest(requestSchema, input);
}

/**
 * A workflow id `volume/<uuid>`, with the stack's prefix or without, gives the volume's id. With any other it is the
 * input's, else one derived from the workflow id, so that a repeated start is the same volume.
 * @throws InvalidRequest when id and input disagree (final).
 */
export function volumeIdOf(workflowId: string, request: Partial<CreateVolumeInput>, prefix = ''): VolumeId {
  const ofStack = workflowId.startsWith(prefix) ? workflowId.slice(prefix.length) : workflowId;
  const named = /^volume\/(.+)$/.exec(ofStack)?.[1];
  if (named !== undefined && uuidPattern.test(named)) {
    if (request.volumeId !== undefined && request.volumeId !== named) {
      const allowed = `${named}, the one in the workflow's id`;
      throw new Failure('InvalidRequest', { field: 'volumeId', value: request.volumeId, allowed });
    }
    return named as VolumeId;
  }
  return (request.volumeId ?? uuidV5(workflowId, VOLUME_ID_NAMESPACE)) as VolumeId;
}

/** @returns the name in `follow:<name>`; undefined for anything else. */
export function followNameOf(imageId: string): string | undefined {
  if (!imageId.startsWith(followPrefix)) return undefined;
  const name = imageId.slice(followPrefix.length);
  return followNamePattern.test(name) ? name : undefined;
}
