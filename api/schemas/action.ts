import { z } from 'zod';

/** The body of an action: its name, and what it is given. */
export const actionSchema = z
  .record(z.string(), z.unknown())
  .refine((body) => Object.keys(body).length === 1, 'One action');
