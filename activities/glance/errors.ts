import { errors } from 'undici';
import { Failure } from '../../workflows/contract/failures';
import { hasCode } from '../../lib/errno';

/** The service's answer in place of what was asked for. */
export interface RefusedRequest {
  /** The service's endpoint, for messages. */
  service: string;
  method: string;
  status: number;
  /** Text of the answer's body, HTML or not. */
  text: string;
  imageId: string;
}

/** The failure that each status is, once. A status that says "not now" is `ImageServiceUnavailable` and worth a retry; the others are final. */
export function failureOfStatus({ service, method, status, text, imageId }: RefusedRequest): Failure {
  const said = messageOf(text);
  const refused = (field: string, value: string, allowed: string): Failure =>
    new Failure('InvalidRequest', { field, value, allowed: said || allowed });
  switch (status) {
    case 404:
    case 410:
      return new Failure('ImageNotFound', { imageId });
    case 403:
      if (method === 'GET') return new Failure('ImageNotFound', { imageId, forbidden: true });
      return refused('imageId', imageId, 'what this project may do');
    case 409:
      return refused('imageId', imageId, 'an image in another state');
    case 400:
    case 413:
      return refused('image', imageId || 'a new image', `what ${service} accepts`);
    default:
      return new Failure('ImageServiceUnavailable', {
        service,
        cause: said ? `it answers ${status}: ${said}` : `it answers ${status}`,
      });
  }
}

/** A connection that could not be made, was cut, or fell silent. */
export function failureOfNetwork(service: string, cause: unknown): Failure<'ImageServiceUnavailable'> {
  return new Failure('ImageServiceUnavailable', { service, cause: networkCause(cause) }, { cause });
}

/** @returns whether the connection was closed under the request, as an idle one may be just when it is used again: a second one may work at once. */
export function wasCut(error: unknown): boolean {
  return error instanceof errors.SocketError || hasCode(error, 'ECONNRESET') || hasCode(error, 'EPIPE');
}

function networkCause(error: unknown): string {
  if (error instanceof errors.ConnectTimeoutError) return 'no connection in time';
  if (error instanceof errors.HeadersTimeoutError) return 'no answer in time';
  if (error instanceof errors.BodyTimeoutError) return 'the answer stalled';
  if (wasCut(error)) return 'the connection was cut';
  if (error instanceof Error)
    return 'code' in error && typeof error.code === 'string' ? `${error.code}: ${error.message}` : error.message;
  return String(error);
}

const MESSAGE_LENGTH = 300;

/** Glance answers errors as a small HTML page whose last paragraph says what is wrong. */
function messageOf(text: string): string {
  const body = text.replace(/^[\s\S]*<\/h1>/, '').replace(/<[^>]*>/g, ' ');
  return body.replace(/\s+/g, ' ').trim().slice(0, MESSAGE_LENGTH);
}
