import { randomUUID } from 'node:crypto';
import type { RouteOptions } from 'fastify';
import { createServer } from '../../../api/http-server';
import { createLogger } from '../../../client/logger';
import { createSnapshot } from '../../../client/snapshots';
import type { ProjectId, SnapshotId } from '../../../workflows/contract/ids';
import { useStack } from '../../support/stack/flows';

const MINE = 'mine' as ProjectId;
const THEIRS = 'theirs' as ProjectId;
const flow = useStack();
let app: ReturnType<typeof createServer>;
let base: string;
const routes: { method: string; url: string }[] = [];

beforeAll(async () => {
  app = createServer(
    { cache: flow.stack.cache, availabilityZone: 'nova', publicUrl: undefined },
    {
      logger: createLogger('error'),
      authenticate: async ({ headers }) => ({
        projectId: MINE,
        userId: 'somebody',
        roles: String(headers['x-roles']).split(','),
        byService: false,
      }),
    },
  );
  app.addHook('onRoute', ({ method, url }: RouteOptions) => {
    for (const one of [method].flat())
      if (one !== 'HEAD' && url.startsWith('/v3/:project_id/')) routes.push({ method: one, url });
  });
  base = await app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => app.close());

/** @param ids by the names of a path's parameters. */
async function ask({ method, url }: { method: string; url: string }, roles: string, ids: Record<string, string>) {
  const path = url.replace(/:(\w+)/g, (_, name: string) => (name === 'project_id' ? MINE : (ids[name] ?? 'a')));
  const sendsBody = method === 'POST' || method === 'PUT';
  const answer = await fetch(`${base}${path}`, {
    method,
    headers: { 'x-roles': roles, 'openstack-api-version': 'volume 3.70', 'content-type': 'application/json' },
    ...(sendsBody && { body: JSON.stringify(bodies[url] ?? {}) }),
  });
  const body = await answer.text();
  const named = Object.values(ids).reduce((text, id) => text.replaceAll(id, 'ID'), body);
  return { method, url, status: answer.status, body: named };
}

/** What a route must be sent, so that it comes to look for its resource. */
const bodies: Record<string, object> = {
  '/v3/:project_id/volumes/:volume_id': { volume: { name: 'taken' } },
  '/v3/:project_id/volumes/:volume_id/metadata': { metadata: { taken: 'yes' } },
  '/v3/:project_id/volumes/:volume_id/metadata/:key': { meta: { a: 'taken' } },
  '/v3/:project_id/volumes/:volume_id/action': { 'os-extend': { new_size: 9 } },
  '/v3/:project_id/snapshots/:snapshot_id': { snapshot: { name: 'taken' } },
};

describe('every route', () => {
  it("answers for another project's resource as for none", async () => {
    const { image } = await flow.upload('of-theirs');
    const { volumeId } = await flow.create(image, { projectId: THEIRS, name: 'of-theirs' });
    const snapshotId = randomUUID() as SnapshotId;
    await createSnapshot(flow.stack.cache, { volumeId, snapshotId }, {});
    const absent = { volume_id: randomUUID(), snapshot_id: randomUUID() };
    const foreign = { volume_id: volumeId as string, snapshot_id: snapshotId as string };
    const ofResources = routes.filter(({ url }) => /:(?:volume|snapshot)_id/.test(url));
    expect(ofResources.length).toBeGreaterThan(5);
    for (const route of ofResources) {
      const answer = await ask(route, 'member', foreign);
      expect(answer).toEqual(await ask(route, 'member', absent));
      expect([400, 403, 404]).toContain(answer.status);
    }
    expect(await flow.stack.inventory.volume(volumeId)).toMatchObject({
      state: 'available',
      name: 'of-theirs',
    });
  });

  it('that changes something is refused to a reader, with the name of the rule', async () => {
    const ids = { volume_id: randomUUID(), snapshot_id: randomUUID() };
    const writes = routes.filter(({ method }) => method !== 'GET');
    for (const route of writes) {
      const answer = await ask(route, 'reader', ids);
      expect(answer).toMatchObject({ status: 403, url: route.url });
      expect(answer.body).toMatch(/Policy doesn't allow [a-z]\S+ to be performed\./);
    }
    const create = await ask({ method: 'POST', url: '/v3/:project_id/volumes' }, 'reader', ids);
    expect(create.body).toContain('volume:create ');
  });

  it('is refused to who has no role that reads', async () => {
    const list = { method: 'GET', url: '/v3/:project_id/volumes' };
    expect((await ask(list, 'auditor', {})).status).toBe(403);
    expect((await ask(list, 'reader', {})).status).toBe(200);
  });
});
