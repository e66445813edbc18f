import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern } from '../../workflows/contract/ids';
import type { BackendName, ProjectId } from '../../workflows/contract/ids';
import { followNamePattern } from '../../workflows/contract/refresh';
import { isStorableText } from '../../workflows/contract/storable-text';
import type { ControlDependencies } from '../dependencies';
import { quote } from '../../workflows/contract/words';
import { describeAllowed } from '../../lib/issue-words';

export const storableText = (maxCharacters: number) =>
  z.string().max(maxCharacters).refine(isStorableText, 'well-formed text without NUL characters');

export const boundedText = (maxCharacters: number) => storableText(maxCharacters).min(1);

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
export function chooseBackend(
  { config }: Pick<ControlDependencies, 'config'>,
  given: string | undefined,
  field = 'backend',
): BackendName {
  const known = Object.keys(config.backends);
  const name = given ?? config.defaultBackend ?? known[0];
  if (name === undefined || !known.includes(name))
    throw new Failure('InvalidRequest', { field, value: quote(given), allowed: known.join(', ') });
  return name as BackendName;
}

/**
 * @returns the project that a request names, else the default one. With an identity it must name one, since its rights are looked at.
 * @throws InvalidRequest (final).
 */
export function chooseProject({ config }: Pick<ControlDependencies, 'config'>, given: string | undefined): ProjectId {
  if (given === undefined && config.identity !== undefined) {
    const allowed = 'the id of the project that the volume is for: with an identity configured there is no default';
    throw new Failure('InvalidRequest', { field: 'projectId', value: quote(given), allowed });
  }
  return (given ?? config.defaultProjectId) as ProjectId;
}

export const followName = z
  .string('a name of letters, digits, and . _ + -')
  .regex(followNamePattern, 'a name of at most 64 letters, digits, and . _ + -');
