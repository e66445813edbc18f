import { Failure } from '../../workflows/contract/failures';

export interface Endpoint {
  /** For messages: without credentials and query. */
  service: string;
  origin: string;
  /** Empty, or with a leading slash and none at its end; without the API's version. */
  basePath: string;
}

/** Service catalogues name the image endpoint with or without its version. @throws Failure InvalidRequest. */
export function parseEndpoint(endpoint: string): Endpoint {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    const value = url === undefined ? endpoint : `${url.protocol}//${url.host}`;
    throw new Failure('InvalidRequest', {
      field: 'images.endpoint',
      value,
      allowed: 'an http or https URL without credentials',
    });
  }
  const basePath = url.pathname.replace(/\/+$/, '').replace(/\/v2(\.\d+)?$/, '');
  return { service: `${url.origin}${basePath}`, origin: url.origin, basePath };
}
