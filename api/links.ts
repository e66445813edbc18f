import type { FastifyRequest } from 'fastify';
import { NO_PROJECT, projectOfPath } from './authentication';
import type { ApiContext } from './api-context';

export interface Link {
  rel: string;
  href: string;
}

/** @returns the links that every resource has, with its project where the client has named that. */
export function linksOf(request: FastifyRequest, context: Pick<ApiContext, 'publicUrl'>, path: string): Link[] {
  const base = baseOf(request, context);
  const project = projectOfPath(request);
  const below = project === NO_PROJECT ? path : `${project}/${path}`;
  return [
    { rel: 'self', href: `${base}/v3/${below}` },
    { rel: 'bookmark', href: `${base}/${below}` },
  ];
}

/** @returns the link to the page of a list that follows `marker`. */
export function nextLink(
  request: FastifyRequest,
  context: Pick<ApiContext, 'publicUrl'>,
  { path, marker }: { path: string; marker: string },
): Link {
  const [self] = linksOf(request, context, path);
  const query = new URLSearchParams(request.query as Record<string, string>);
  query.set('marker', marker);
  return { rel: 'next', href: `${self?.href}?${query.toString()}` };
}

export function baseOf(request: FastifyRequest, { publicUrl }: Pick<ApiContext, 'publicUrl'>): string {
  return publicUrl?.replace(/\/$/, '') ?? `${request.protocol}://${request.host}`;
}
