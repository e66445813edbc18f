import type { FastifyRequest } from 'fastify';
import { v5 } from 'uuid';
import { badRequest } from './errors';

/** Of ids that are made of keys. */
const NAMESPACE = 'c4c1b7c9-6d3d-4b0e-9d5a-2f1f1f0d8a57';
const KEY = /^[\x21-\x7e]{1,255}$/;

/**
 * @param kind of resource, such as `volume`.
 * @returns the id of what a request with `Idempotency-Key` makes, so that its repetition makes nothing new; undefined without the header.
 * @throws ApiError 400 for what is no key.
 */
export function idOfKey({ headers, caller }: FastifyRequest, kind: string): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !KEY.test(key))
    throw badRequest('Invalid input for header Idempotency-Key. 1 to 255 visible characters of ASCII are allowed.');
  return v5(`${kind}/${caller.projectId}/${key}`, NAMESPACE);
}
