import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Catalog } from './catalog';
import type { Counters } from './counters';
import type { Faults } from './faults';
import { HttpError } from './http';
import type { RecordedImage } from './record';

export interface Service {
  catalog: Catalog;
  counters: Counters;
  /** Undefined: faults cannot be injected. */
  faults: Faults | undefined;
}

export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  /** Captured by the route's pattern. */
  captured: string[];
}

export type Handler = (service: Service, exchange: Exchange) => Promise<void> | void;

/** @throws HttpError 404. */
export function imageOf({ catalog }: Service, { captured }: Exchange): RecordedImage {
  const [id = ''] = captured;
  const image = catalog.find(id);
  if (image === undefined) throw new HttpError(404, `No image found with ID ${id}`);
  return image;
}

/** A form of a web page cannot send JSON. */
export function demandJson(request: IncomingMessage): void {
  if (mediaType(request) !== 'application/json') throw unsupported(request);
}

export function mediaType({ headers }: IncomingMessage): string {
  return (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

export function unsupported(request: IncomingMessage, headers: Record<string, string> = {}): HttpError {
  return new HttpError(415, `The request media type ${mediaType(request)} is not supported by this server.`, headers);
}
