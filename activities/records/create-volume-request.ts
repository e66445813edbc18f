import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern, type VolumeId } from '../../workflows/contract/ids';
import { isStorableText } from '../../workflows/contract/storable-text';
import type { CreateVolumeInput } from '../../workflows/contract/volume';
import { followNameOf } from './resolve-image';

/** Namespace of the volume ids that are derived from workflow ids (RFC 9562, version 5). */
const VOLUME_ID_NAMESPACE = 'c2a5a3de-7c53-4b39-9d0f-6e2a8f0f7a11';
const MAX_NAME_CHARACTERS = 255;
const MAX_METADATA_ENTRIES = 128;

const storableText = (maxCharacters: number) =>
  z.string().max(maxCharacters).refine(isStorableText, 'well-formed text without NUL characters');
export const boundedText = (maxCharacters: number) => storableText(maxCharacters).min(1);

export const uuid = z.string('a UUID in lower case').regex(uuidPattern, 'a UUID in lower case');

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
export function parseRequest<Schema extends z.ZodObject>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input, { error: describeAllowed });
  if (parsed.success) return parsed.data;
  const fields = Object.keys(schema.shape).join(', ');
  const [issue] = parsed.error.issues;
  const isUnknown = issue?.code === 'unrecognized_keys';
  const path = [...(issue?.path ?? []), ...(isUnknown ? issue.keys.slice(0, 1) : [])];
  const value = describeValue(at(input, path));
  if (path.length === 0)
    throw new Failure('InvalidRequest', { field: 'input', value, allowed: `an object with fields of ${fields}` });
  const allowed = isUnknown ? unknownField(path, fields) : (issue?.message ?? 'another value');
  throw new Failure('InvalidRequest', { field: path.join('.'), value, allowed });
}

function unknownField(path: readonly PropertyKey[], fields: string): string {
  return path.length === 1 ? `no such field, only ${fields}` : 'no such field';
}

/** @returns what is allowed, in words for people, where the schema does not say it itself. */
function describeAllowed(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return typeNames[issue.expected];
  if (issue.code === 'too_small' && issue.origin === 'string') return 'a text that is not empty';
  if (issue.code === 'too_big' && issue.origin === 'string') return `a text of at most ${issue.maximum} characters`;
  return undefined;
}

const typeNames: Partial<Record<string, string>> = {
  string: 'a text',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object of texts',
};

/**
 * A workflow id `volume/<uuid>`, with the stack's prefix or without, gives the volume's id; with any other the input's, else one derived from the workflow id, so that a repeated
 * start is the same volume. @throws InvalidRequest when id and input disagree (final).
 */
export function volumeIdOf(workflowId: string, request: CreateVolumeInput, prefix = ''): VolumeId {
  const ofStack = workflowId.startsWith(prefix) ? workflowId.slice(prefix.length) : workflowId;
  const named = /^volume\/(.+)$/.exec(ofStack)?.[1];
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
