import { describeApi } from '../../support/stack/describe-api';
import type { OpenApi } from '../../../api/open-api';

let document: OpenApi;
beforeAll(async () => (document = await describeApi()));

it('has the bodies that calls take, as clients may send them', () => {
  const { post } = document.paths['/v3/{project_id}/volumes'] ?? {};
  const schema = post?.requestBody?.content['application/json'].schema as { properties: Record<string, unknown> };
  expect(schema.properties['volume']).toMatchObject({
    type: 'object',
    properties: { name: expect.anything(), imageRef: expect.anything() },
  });
  expect(post?.security).toEqual([{ token: [] }]);
});

it('has calls that need no token, the own one among them', () => {
  const open = Object.entries(document.paths).filter(([, methods]) => methods['get']?.security.length === 0);
  expect(open.map(([path]) => path)).toEqual(expect.arrayContaining(['/', '/v3', '/healthcheck', '/v3/openapi.json']));
});

it('names each operation once, and each part of a path', () => {
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
  const ids = operations.map(({ operationId }) => operationId);
  expect(ids.length).toBeGreaterThan(80);
  for (const [path, methods] of Object.entries(document.paths))
    for (const { parameters } of Object.values(methods))
      expect(JSON.stringify(parameters).match(/"in":"path"/g)?.length ?? 0).toBe(path.match(/\{/g)?.length ?? 0);
});
