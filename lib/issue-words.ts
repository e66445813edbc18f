import type { z } from 'zod';

/** An error map of zod's. @returns what is allowed, in words for people, where the schema does not say it itself. */
export function describeAllowed(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return typeNames[issue.expected];
  if (issue.code === 'invalid_value') return listed(issue.values);
  if (issue.code === 'too_small')
    return issue.origin === 'string' && issue.minimum === 1
      ? 'a text that is not empty'
      : limit('at least', issue.minimum, issue.origin);
  if (issue.code === 'too_big') return limit('at most', issue.maximum, issue.origin);
  // Of a union without a discriminator the faults of its branches say more.
  if (issue.code === 'invalid_union' && 'options' in issue && Array.isArray(issue.options))
    return listed(issue.options);
  return undefined;
}

/** @returns where the first fault is, and what it is. */
export function describeFirstIssue({ issues: [issue] }: z.ZodError): string {
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
}

const typeNames: Partial<Record<string, string>> = {
  object: 'an object',
  record: 'an object of texts',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
};

function limit(bound: string, value: number | bigint, origin: string): string {
  if (origin === 'string') return `a text of ${bound} ${value} characters`;
  return origin === 'array' ? `${bound} ${value} items` : `${bound} ${value}`;
}

function listed(values: readonly unknown[]): string {
  return values.map((value) => (typeof value === 'bigint' ? String(value) : JSON.stringify(value))).join(', ');
}
