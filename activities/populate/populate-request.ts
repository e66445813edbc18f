import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import {
  backendNamePattern,
  uuidPattern,
  type BackendName,
  type ImageId,
  type ProjectId,
  type SnapshotId,
  type VolumeId,
} from '../../workflows/contract/ids';
import type { PopulateInput } from '../../workflows/contract/population';
import { quote } from '../../workflows/contract/words';
import { shortKeyOf } from '../kit/cache-key';
import { boundedText, parseRequest, uuid } from '../kit/request';

const MAX_KEY_FIELD_CHARACTERS = 255;

const imageId = z
  .string()
  .regex(uuidPattern, 'a UUID in lower case')
  .transform((id) => id as ImageId);
const keyField = z.string().max(MAX_KEY_FIELD_CHARACTERS);

const populateSchema = z.strictObject({
  backend: z
    .string()
    .regex(backendNamePattern, 'the name of a backend')
    .transform((name) => name as BackendName),
  cacheKey: z.strictObject({
    containerFormat: keyField,
    diskFormat: keyField,
    hashAlgorithm: keyField,
    hashValue: keyField,
    imageId: imageId.optional(),
    signature: z
      .string()
      .regex(/^[0-9a-f]{64}$/, '64 hex digits')
      .optional(),
    short: keyField,
  }),
  imageId,
  projectId: boundedText(64).transform((id) => id as ProjectId),
  seed: z
    .strictObject({
      volumeId: uuid.transform((id) => id as VolumeId),
      snapshotId: uuid.transform((id) => id as SnapshotId),
    })
    .optional(),
});

/**
 * @returns the input of a population, which any Temporal client may have sent.
 * @throws InvalidRequest naming the first field that is wrong (final).
 */
export function parsePopulateInput(input: unknown): PopulateInput {
  const parsed = parseRequest(populateSchema, input);
  const short = shortKeyOf(parsed.cacheKey);
  if (parsed.cacheKey.short === short) return parsed;
  throw new Failure('InvalidRequest', {
    field: 'cacheKey.short',
    value: quote(parsed.cacheKey.short),
    allowed: `${short}, the hash of the other fields`,
  });
}
