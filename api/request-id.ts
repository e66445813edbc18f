import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** @returns the id of a request, in answers, log lines, events and runs. */
export function newRequestId(): string {
  return `req-${randomUUID()}`;
}

/** Source: `ID_FORMAT` of `oslo_middleware.request_id`. */
const ID = /^req-[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}$/;

/**
 * @returns the id of the request of another service, such as Nova, on behalf of which this one is sent; undefined where it names none. It is
 * logged beside the own one and never taken for it, as by `oslo_middleware.request_id`.
 */
export function globalRequestIdOf(headers: IncomingHttpHeaders): string | undefined {
  const given = headers['x-openstack-request-id'];
  return typeof given === 'string' && ID.test(given) ? given : undefined;
}
