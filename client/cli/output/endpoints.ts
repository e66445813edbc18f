import { join } from 'node:path';
import type { Endpoints } from '../../config/endpoints';
import { formatRecord } from './table';

/** Where everything listens, for people: the database's URL stays in `endpoints.json`, since it holds a password. */
export function formatEndpoints({ temporal, database, images, worker, dataDirectory }: Endpoints): string[] {
  return formatRecord({
    'Temporal UI': temporal.uiUrl,
    Temporal: `${temporal.address}, namespace ${temporal.namespace}`,
    'Temporal metrics': temporal.metricsUrl,
    Images: images.endpoint,
    PostgreSQL: withoutPassword(database.url),
    'Worker metrics': worker?.metricsUrl,
    Data: dataDirectory,
    Logs: join(dataDirectory, 'logs'),
  });
}

/** What a program may read: as `endpoints.json`, without the password. */
export function publicEndpoints(endpoints: Endpoints): Endpoints {
  return { ...endpoints, database: { ...endpoints.database, url: withoutPassword(endpoints.database.url) } };
}

function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^:@/]*):[^@/]*@/, '$1@');
}
