import type { FastifyInstance, RouteOptions } from 'fastify';
import { z } from 'zod';
import { answers } from './schemas/answers';
import { LEAST_MINOR, MOST_MINOR, versionText } from './microversion';

/** OpenAPI 3.1, of what is served. Source: spec.openapis.org/oas/v3.1.0. */
export interface OpenApi {
  openapi: string;
  info: { title: string; version: string; description: string };
  components: object;
  paths: Record<string, Record<string, OpenApiOperation>>;
}

interface OpenApiOperation {
  operationId: string;
  tags: string[];
  security: Record<string, string[]>[];
  parameters: object[];
  requestBody?: { required: true; content: JsonContent };
  responses: Record<string, { description: string; content?: JsonContent } | { $ref: string }>;
}

interface JsonContent {
  'application/json': { schema: object };
}

const OF_PROJECT = '/v3/:project_id/';

/** Serves `GET /v3/openapi.json`, for everybody. To be called before the routes, all of which it tells. */
export function serveOpenApi(app: FastifyInstance): void {
  const paths: OpenApi['paths'] = {};
  app.addHook('onRoute', (route) => {
    const path = route.url.replaceAll(/:(\w+)/g, '{$1}');
    // Fastify adds it to each GET.
    for (const method of [route.method].flat().filter((one) => one !== 'HEAD'))
      paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(method, route) };
  });
  app.get('/v3/openapi.json', async (): Promise<OpenApi> => ({
    openapi: '3.1.0',
    info,
    components,
    paths: inOrder(paths),
  }));
}

const info: OpenApi['info'] = {
  title: 'image-volume-cache: block storage',
  version: versionText(MOST_MINOR),
  description: `OpenStack's block-storage API v3, from microversion ${versionText(LEAST_MINOR)} to ${versionText(MOST_MINOR)}. Since 3.67 the project may be left out of the path.`,
};

const components = {
  securitySchemes: { token: { type: 'apiKey', in: 'header', name: 'X-Auth-Token' } },
  parameters: {
    microversion: {
      name: 'OpenStack-API-Version',
      in: 'header',
      schema: { type: 'string', example: `volume ${versionText(MOST_MINOR)}` },
    },
  },
  responses: {
    fault: {
      description: 'What was refused or has failed, under the name of its kind, such as `badRequest`',
      headers: { 'x-openstack-request-id': { schema: { type: 'string' } } },
      content: {
        'application/json': {
          schema: {
            type: 'object',
            minProperties: 1,
            maxProperties: 1,
            additionalProperties: {
              type: 'object',
              required: ['code', 'message'],
              properties: {
                code: { type: 'integer' },
                message: { type: 'string' },
                retryAfter: { type: 'string' },
              },
            },
          },
        },
      },
    },
  },
};

function operationOf(method: string, { url, schema }: RouteOptions): OpenApiOperation {
  const ofProject = url.startsWith(OF_PROJECT);
  const names = [...url.matchAll(/:(\w+)/g)].map(([, name = '']) => name);
  const inPath = names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  const body = schema?.body as z.ZodType | undefined;
  const answer = ofProject ? answers[`${method} /${url.slice(OF_PROJECT.length)}`] : undefined;
  return {
    operationId: `${method.toLowerCase()}${url.replaceAll(/[^A-Za-z0-9]+/g, '_').replace(/_$/, '')}`,
    tags: [ofProject ? (url.slice(OF_PROJECT.length).split('/')[0] ?? '') : 'versions'],
    security: ofProject ? [{ token: [] }] : [],
    parameters: [...inPath, ...(ofProject ? [{ $ref: '#/components/parameters/microversion' }] : [])],
    ...(body && { requestBody: { required: true, content: jsonContentOf(body) } }),
    responses: {
      '2XX': { description: 'Done, or begun', ...(answer && { content: jsonContentOf(answer) }) },
      default: { $ref: '#/components/responses/fault' },
    },
  };
}

/** The schema of a request or of an answer: rules that JSON Schema cannot say are left out. */
function jsonContentOf(body: z.ZodType): JsonContent {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(body, { io: 'input', unrepresentable: 'any' });
  return { 'application/json': { schema } };
}

function inOrder(paths: OpenApi['paths']): OpenApi['paths'] {
  return Object.fromEntries(Object.entries(paths).sort(([left], [right]) => (left < right ? -1 : 1)));
}
