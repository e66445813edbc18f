import { z } from 'zod';
import { SECTOR_BYTES } from '../../workflows/contract/bytes';
import { MAX_CALLER_CHARACTERS } from '../../workflows/contract/event-kinds';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern } from '../../workflows/contract/ids';
import type { BackendName, ProjectId } from '../../workflows/contract/ids';
import { followNamePattern } from '../../workflows/contract/refresh';
import { MAX_METADATA_ENTRIES, MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { isStorableText } from '../../workflows/contract/storable-text';
import type { ControlDependencies } from '../dependencies';
import { listed, quote } from '../../workflows/contract/words';
import { describeAllowed } from '../../lib/issue-words';

export const storableText = (maxCharacters: number) =>
  z.string().max(maxCharacters).refine(isStorableText, 'well-formed text without NUL characters');

export const boundedText = (maxCharacters: number) => storableText(maxCharacters).min(1);

/** A project's id, as Keystone has it or as it is trusted. */
export const projectId = boundedText(64);

export const volumeSizeBytes = z
  .number('a whole number of bytes, a multiple of 512')
  .int('a whole number of bytes, a multiple of 512')
  .positive('a positive number of bytes, a multiple of 512')
  .multipleOf(SECTOR_BYTES, 'a multiple of 512');

export const volumeName = boundedText(MAX_NAME_CHARACTERS);
export const volumeDescription = boundedText(MAX_NAME_CHARACTERS);
export const volumeMetadata = z
  .record(boundedText(MAX_NAME_CHARACTERS), storableText(MAX_NAME_CHARACTERS))
  .refine(
    (metadata) => Object.keys(metadata).length <= MAX_METADATA_ENTRIES,
    `at most ${MAX_METADATA_ENTRIES} entries`,
  );

export const keysToUnset = (mostEntries: number) =>
  z.array(boundedText(MAX_NAME_CHARACTERS), 'a list of keys').max(mostEntries, `at most ${mostEntries} keys`);

const callerText = boundedText(MAX_CALLER_CHARACTERS).optional();
/** Fields of a request that say who asks. */
export const callerSchema = { by: callerText, requestId: callerText };

export const uuid = z.string('a UUID in lower case').regex(uuidPattern, 'a UUID in lower case');

/** As `requestSchema.parse`, with the product's own failure. @throws InvalidRequest (final). */
export function parseRequest<Schema extends z.ZodObject>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input, { error: describeAllowed });
  if (parsed.success) return parsed.data;
  const fields = Object.keys(schema.shape).join(', ');
  const [issue] = parsed.error.issues;
  const isUnknown = issue?.code === 'unrecognized_keys';
  const path = [...(issue?.path ?? []), ...(isUnknown ? issue.keys.slice(0, 1) : [])];
  const value = quote(at(input, path));
  if (path.length === 0)
    throw new Failure('InvalidRequest', { field: 'input', value, allowed: `an object with fields of ${fields}` });
  const allowed = isUnknown ? unknownField(path, fields) : (issue?.message ?? 'another value');
  throw new Failure('InvalidRequest', { field: path.join('.'), value, allowed });
}

/**
 * Of a request that changes something: `schema` begins with what it changes and whose that is, and ends with who asks; the fields between may change.
 * @throws InvalidRequest for one that changes nothing, and for a status, which is an operator's, beside a project (final).
 */
export function expectChange(schema: z.ZodObject, change: { status?: string }, ofProject: string | undefined): void {
  if (Object.values(change).every((value) => value === undefined)) {
    const allowed = `one of ${Object.keys(schema.shape).slice(2, -2).join(', ')}`;
    throw new Failure('InvalidRequest', { field: 'input', value: 'no change', allowed });
  }
  if (change.status !== undefined && ofProject !== undefined) {
    const allowed = 'without projectId only: it is for operators';
    throw new Failure('InvalidRequest', { field: 'status', value: change.status, allowed });
  }
}

function unknownField(path: readonly PropertyKey[], fields: string): string {
  return path.length === 1 ? `no such field, only ${fields}` : 'no such field';
}

function at(input: unknown, path: ReadonlyArray<PropertyKey>): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    input,
  );
}

/** @returns the backend that a request names, else the default one. @throws InvalidRequest (final). */
export function chooseBackend({ config }: Pick<ControlDependencies, 'config'>, given: string | undefined): BackendName {
  const known = Object.keys(config.backends);
  const name = given ?? config.defaultBackend ?? known[0];
  if (name === undefined || !known.includes(name))
    throw new Failure('BackendNotFound', { backend: quote(given), known: listed(known) });
  return name as BackendName;
}

/**
 * @returns the project that a request names, else the default one. With an identity it must name one, since its rights are looked at.
 * @throws InvalidRequest (final), also for the internal tenant's project, unless it is our account's own by default.
 */
export function chooseProject(
  { config, internalTenant }: Pick<ControlDependencies, 'config' | 'internalTenant'>,
  given: string | undefined,
): ProjectId {
  if (given === undefined && config.identity !== undefined) {
    const allowed = 'the id of the project that the volume is for: with an identity configured there is no default';
    throw new Failure('InvalidRequest', { field: 'projectId', value: quote(given), allowed });
  }
  const chosen = given ?? config.defaultProjectId;
  const { internalTenant: configured } = config;
  const isNamed = configured.projectId !== undefined || configured.projectName !== undefined;
  const isOwn = config.identity !== undefined && !isNamed;
  if (chosen === internalTenant.projectId && !isOwn) {
    const allowed = 'a project of users: this one is the internal tenant, which owns the image-volumes and no other';
    throw new Failure('InvalidRequest', { field: 'projectId', value: quote(chosen), allowed });
  }
  return chosen as ProjectId;
}

export const followName = z
  .string('a name of letters, digits, and . _ + -')
  .regex(followNamePattern, 'a name of at most 64 letters, digits, and . _ + -');
