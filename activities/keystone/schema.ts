import { z } from 'zod';
import { Secret } from '../../lib/secret';

const named = z.object({ id: z.string(), name: z.string() });
const withDomain = named.extend({ domain: named.partial() });
const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));

const endpointSchema = z.object({
  url: z.string(),
  interface: z.string(),
  region: z.string().nullish(),
  region_id: z.string().nullish(),
});

const serviceSchema = z.object({
  type: z.string(),
  name: z.string().optional(),
  endpoints: z.array(endpointSchema),
});
export type CatalogueService = z.output<typeof serviceSchema>;

/** Of an answer to `GET /v3/auth/catalog`. */
export const catalogueSchema = z.object({ catalog: z.array(serviceSchema) });

/** The body of an answer to `POST /v3/auth/tokens`; the token itself is in the header. */
export const tokenSchema = z.object({
  token: z.object({
    issued_at: instant,
    /** Null: it never does. */
    expires_at: instant.nullable(),
    user: withDomain,
    project: withDomain.optional(),
    domain: named.optional(),
    roles: z.array(named).default([]),
    catalog: z.array(serviceSchema).default([]),
  }),
});
export type TokenBody = z.output<typeof tokenSchema>['token'];

export const subjectTokenSchema = z
  .string()
  .min(1)
  .transform((text) => new Secret(text));

/** Keystone's answer in place of what was asked for. */
export const errorSchema = z.object({ error: z.object({ message: z.string() }) });
