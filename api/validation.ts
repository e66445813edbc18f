import type { z } from 'zod';
import { describeAllowed } from '../lib/issue-words';
import { badRequest } from './errors';

/** @throws ApiError 400 for what does not fit, with the field and what is allowed. */
export function checkInput<Schema extends z.ZodType>(schema: Schema, data: unknown): z.output<Schema> {
  const parsed = schema.safeParse(data, { error: describeAllowed });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue === undefined || issue.path.length === 0 ? 'the body' : issue.path.join('.');
  throw badRequest(`Invalid input for field/attribute ${field}. ${issue?.message ?? 'Another value'} is allowed.`);
}
