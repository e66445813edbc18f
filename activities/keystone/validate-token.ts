import { z } from 'zod';

/** Owner of a valid token. */
export interface TokenValidation {
  userId: string;
  /** Undefined: it is for no project. */
  projectId: string | undefined;
  /** Names, in lower case. */
  roles: string[];
  /** Infinity: it has no end. */
  expiresAtMs: number;
}

const id = z.object({ id: z.string() });

/** Of `GET /v3/auth/tokens`. */
export const validatedTokenSchema = z
  .object({
    token: z.object({
      user: id,
      project: id.optional(),
      roles: z.array(z.object({ name: z.string() })).default([]),
      expires_at: z.iso.datetime({ offset: true }).nullable(),
    }),
  })
  .transform(({ token: { user, project, roles, expires_at: end } }): TokenValidation => ({
    userId: user.id,
    projectId: project?.id,
    roles: roles.map(({ name }) => name.toLowerCase()),
    expiresAtMs: end === null ? Infinity : Date.parse(end),
  }));
