import { z } from 'zod';
import { endpointsSchema } from './endpoints';

/** Messages of the process that runs the embedded stack to the command that started it. */
export const stackEventSchema = z.discriminatedUnion('kind', [
  /** Something for people to read. */
  z.object({ kind: z.literal('line'), text: z.string() }),
  /** Everything answers. `already`: another process runs it. */
  z.object({ kind: z.literal('ready'), endpoints: endpointsSchema, already: z.boolean() }),
  z.object({ kind: z.literal('failed'), message: z.string(), exitCode: z.int() }),
]);

export type StackEvent = z.output<typeof stackEventSchema>;
