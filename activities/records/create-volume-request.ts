import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern, type VolumeId } from '../../workflows/contract/ids';
import type { CreateVolumeInput } from '../../workflows/contract/volume';

/** Namespace of the volume ids that are derived from workflow ids (RFC 9562, version 5). */
const VOLUME_ID_NAMESPACE = 'c2a5a3de-7c53-4b39-9d0f-6e2a8f0f7a11';
const MAX_NAME_CHARACTERS = 255;
const MAX_METADATA_ENTRIES = 128;

/** PostgreSQL keeps neither NUL nor half of a surrogate pair. */
const storable = (text: string): boolean => !/[\0\p{Surrogate}]/u.test(text);
const storableText = (maxCharacters: number) =>
  z.string().max(maxCharacters).refine(storable, 'well-formed text without NUL characters');
export const boundedText = (maxCharacters: number) => storableText(maxCharacters).min(1);

const requestSchema = z.strictObject({
  imageId: z.string().regex(uuidPattern, 'a UUID in lower case'),
  volumeId: z.string().regex(uuidPattern, 'a UUID in lower case').optional(),
  backend: boundedText(40).optional(),
  sizeBytes: z
    .number('a whole number of bytes, a multiple of 512')
    .int('a whole number of bytes, a multiple of 512')
    .positive('a positive number of bytes, a multiple of 512')
    .multipleOf(SECTOR_BYTES, 'a multiple of 512')
    .optional(),
  projectId: boundedText(64).optional(),
  name: boundedText(MAX_NAME_CHARACTERS).optional(),
  metadata: z
    .record(boundedText(MAX_NAME_CHARACTERS), storableText(MAX_NAME_CHARACTERS))
    .refine(
      (metadata) => Object.keys(metadata).length <= MAX_METADATA_ENTRIES,
      `at most ${MAX_METADATA_ENTRIES} entries`,
    )
    .optional(),
  bypassCache: z.boolean().optional(),
});

/** @returns the request as given. @throws InvalidRequest naming the first field that is wrong, its value and what is allowed (final). */
export function parseCreateVolumeRequest(input: unknown): CreateVolumeInput {
  return parseRequest(requestSchema, input);
}

/** As `requestSchema.parse`, with the product's own failure. @throws InvalidRequest (final). */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  if (issue?.code === 'unrecognized_keys') {
    const field = issue.keys[0] ?? 'input';
    throw new Failure('InvalidRequest', {
      field,
      value: describeValue(at(input, [field])),
      allowed: 'no such field; see the workflow’s input in the documentation',
    });
  }
  const path = issue?.path ?? [];
  const field = path.length === 0 ? 'input' : path.join('.');
  throw new Failure('InvalidRequest', {
    field,
    value: describeValue(at(input, path)),
    allowed: issue?.message ?? 'a valid value',
  });
}

/**
 * A workflow id `volume/<uuid>` gives the volume's id; with any other the input's, else one derived from the workflow id, so that a repeated
 * start is the same volume. @throws InvalidRequest when id and input disagree (final).
 */
export function volumeIdOf(workflowId: string, request: CreateVolumeInput): VolumeId {
  const named = /^volume\/(.+)$/.exec(workflowId)?.[1];
  if (named !== undefined && uuidPattern.test(named)) {
    if (request.volumeId !== undefined && request.volumeId !== named) {
      throw new Failure('InvalidRequest', {
        field: 'volumeId',
        value: request.volumeId,
        allowed: `${named}, the one in the workflow's id`,
      });
    }
    return named as VolumeId;
  }
  return (request.volumeId ?? uuidV5(workflowId, VOLUME_ID_NAMESPACE)) as VolumeId;
}

const MAX_VALUE_CHARACTERS = 120;

function describeValue(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length <= MAX_VALUE_CHARACTERS ? text : `${text.slice(0, MAX_VALUE_CHARACTERS)}…`;
}

function at(input: unknown, path: ReadonlyArray<PropertyKey>): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    input,
  );
}
