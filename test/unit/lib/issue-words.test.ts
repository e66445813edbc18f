import { z } from 'zod';
import { describeAllowed, describeFirstIssue } from '../../../lib/issue-words';

const schema = z.object({
  text: z.string().min(1).max(3).optional(),
  count: z.int().min(1).max(9).optional(),
  list: z.array(z.string()).min(2).optional(),
  choice: z.enum(['a', 'b']).optional(),
  kind: z.discriminatedUnion('is', [z.object({ is: z.literal('x') }), z.object({ is: z.literal('y') })]).optional(),
  own: z.string('what the schema says').optional(),
});

it.each([
  [{ text: '' }, 'text: a text that is not empty'],
  [{ text: 'long' }, 'text: a text of at most 3 characters'],
  [{ text: 1 }, 'text: a text'],
  [{ count: 0 }, 'count: at least 1'],
  [{ count: 10 }, 'count: at most 9'],
  [{ count: '1' }, 'count: a number'],
  [{ list: [] }, 'list: at least 2 items'],
  [{ choice: 'c' }, 'choice: "a", "b"'],
  [{ kind: { is: 'z' } }, 'kind.is: "x", "y"'],
  [{ own: 1 }, 'own: what the schema says'],
])('of %j says what is allowed', (value, words) => {
  const { error } = schema.safeParse(value, { error: describeAllowed });
  expect(error && describeFirstIssue(error)).toBe(words);
});
