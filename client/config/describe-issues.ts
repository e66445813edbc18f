import type { z } from 'zod';
import { describeValue, type ConfigIssue } from './config-error';
import { describeAllowed } from '../../lib/issue-words';

type Path = readonly PropertyKey[];

/**
 * The error map with which `describeIssues` is to find the words in the issues: an object to a program is a section
 * to people.
 */
export function describeSection(issue: z.core.$ZodRawIssue): string | undefined {
  const isSection = issue.code === 'invalid_type' && (issue.expected === 'object' || issue.expected === 'record');
  return isSection ? 'a section with keys' : describeAllowed(issue);
}

/**
 * Turns zod's issues about `value` into ours: one for each wrong value or unknown key, with what is allowed in its
 * place.
 */
export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  value: unknown,
  schema: z.core.$ZodType,
): ConfigIssue[] {
  return issues.flatMap((issue) => describeIssue(issue, { value, schema, prefix: [] }));
}

interface Context {
  value: unknown;
  schema: z.core.$ZodType;
  prefix: Path;
}

function describeIssue(issue: z.core.$ZodIssue, context: Context): ConfigIssue[] {
  const path = [...context.prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...path, key], context));
  if (issue.code === 'invalid_union' && issue.errors.length > 0 && issue.message === 'Invalid input') {
    return closestBranch(issue.errors).flatMap((nested) => describeIssue(nested, { ...context, prefix: path }));
  }
  const received = holdsPassword(path) ? 'what is not shown' : describeValue(valueAt(context.value, path));
  return [{ path: dotted(path), received, allowed: issue.message }];
}

/** A URL that cannot be read may hold a password at any place. */
function holdsPassword(path: Path): boolean {
  return dotted(path) === 'database.url';
}

/** The branch of a union that the writer most likely meant: the one with the fewest faults. */
function closestBranch(branches: readonly z.core.$ZodIssue[][]): readonly z.core.$ZodIssue[] {
  return [...branches].sort((left, right) => countFaults(left) - countFaults(right))[0] ?? [];
}

function countFaults(branch: readonly z.core.$ZodIssue[]): number {
  return branch.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
}

function unknownKey(path: Path, { value, schema }: Context): ConfigIssue {
  const keys = knownKeys(schema, { path: path.slice(0, -1), value });
  const allowed = keys.length > 0 ? `one of the keys ${keys.join(', ')}` : 'no such key';
  return { path: dotted(path), received: `the unknown key ${JSON.stringify(path.at(-1))}`, allowed };
}

/** The keys that `schema` knows at `path`, following only what the configuration's schema is made of. */
function knownKeys(schema: z.core.$ZodType, { path, value }: { path: Path; value: unknown }): string[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- zod's documented way to walk a schema: every schema is one of these.
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const [head, ...rest] = path;
  if (def.type === 'prefault' || def.type === 'default' || def.type === 'optional')
    return knownKeys(def.innerType, { path, value });
  if (def.type === 'union') return [...new Set(def.options.flatMap((option) => knownKeys(option, { path, value })))];
  if (def.type === 'record' && head !== undefined) return knownKeys(def.valueType, { path: rest, value });
  if (def.type !== 'object') return [];
  if (head === undefined) return Object.keys(def.shape);
  const next = def.shape[String(head)];
  return next === undefined ? [] : knownKeys(next, { path: rest, value });
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((current, key) => (isObject(current) ? current[key] : undefined), value);
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}

function dotted(path: Path): string {
  return path.map(String).join('.');
}
