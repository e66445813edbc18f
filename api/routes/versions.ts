import type { FastifyInstance, FastifyRequest } from 'fastify';
import { baseOf } from '../links';
import { LEAST_MINOR, MOST_MINOR, versionText } from '../microversion';
import type { ApiContext } from '../api-context';

/** `GET /` and `GET /v3`: the versions, with and without a token. Source: `cinder.api.versions`. */
export function registerVersions(app: FastifyInstance, context: ApiContext): void {
  app.get('/', async (request, reply) => reply.code(300).send(versionsOf(request, context)));
  for (const path of ['/v3', '/v3/']) app.get(path, async (request) => versionsOf(request, context));
  app.get('/healthcheck', async () => ({ status: 'ok' }));
}

function versionsOf(request: FastifyRequest, context: ApiContext) {
  return {
    versions: [
      {
        id: 'v3.0',
        status: 'CURRENT',
        version: versionText(MOST_MINOR),
        min_version: versionText(LEAST_MINOR),
        updated: '2023-08-31T00:00:00Z',
        links: [
          { rel: 'describedby', type: 'text/html', href: 'https://docs.openstack.org/' },
          { rel: 'self', href: `${baseOf(request, context)}/v3/` },
        ],
        'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.volume+json;version=3' }],
      },
    ],
  };
}
