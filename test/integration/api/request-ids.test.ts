import { randomUUID } from 'node:crypto';
import { startApi, type TestApi } from '../../support/stack/api';
import { openRawHttp } from '../../support/machine/raw-http';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack, { limits: { bodyBytes: '1KiB' } });
});
afterAll(() => api.stop());

const ID = /^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const lineOf = async (requestId: unknown) =>
  await flow.until('the line of the request', async () =>
    api.requestLines().find((line) => line['requestId'] === requestId),
  );

describe('the id of a request', () => {
  it.each<{ of: string; request: string; status: number; body?: object; headers?: Record<string, string> }>([
    { of: 'the versions', request: 'GET /', status: 300 },
    { of: 'the health', request: 'GET /healthcheck', status: 200 },
    { of: 'a list', request: 'GET /v3/p1/volumes', status: 200 },
    { of: 'a path of no resource', request: 'GET /nowhere', status: 404 },
    { of: 'a path of no resource of a project', request: 'GET /v3/p1/nowhere', status: 404 },
    { of: 'a volume that is not there', request: `GET /v3/p1/volumes/${randomUUID()}`, status: 404 },
    { of: 'a method that is not there', request: 'PATCH /v3/p1/volumes', status: 404 },
    {
      of: 'another microversion',
      request: 'GET /v3/p1/volumes',
      status: 406,
      headers: { 'openstack-api-version': 'volume 3.999' },
    },
    { of: 'a body that does not fit', request: 'POST /v3/p1/volumes', status: 400, body: { volume: { size: 'x' } } },
    {
      of: 'a body that is too long',
      request: 'POST /v3/p1/volumes',
      status: 413,
      body: { volume: { name: 'x'.repeat(1024) } },
    },
    {
      of: 'a body of another kind',
      request: 'POST /v3/p1/volumes',
      status: 415,
      body: {},
      headers: { 'content-type': 'text/plain' },
    },
    { of: 'a path that nobody can read', request: 'GET /v3/p1/volumes/%zz', status: 400 },
  ])('of $of is in its answer and in its line of the log', async ({ request, status, body, headers }) => {
    const answer = await api.call(request, body, { headers });
    expect(answer.status).toBe(status);
    const id = answer.headers.get('x-openstack-request-id');
    expect(id).toMatch(ID);
    expect(answer.headers.get('x-compute-request-id')).toBe(id);
    expect(await lineOf(id)).toMatchObject({ status, url: request.split(' ')[1] });
  });

  it('of what is no HTTP is in its answer and in its line too', async () => {
    const connection = await openRawHttp(api.url);
    connection.say('GET / nothing\r\n\r\n');
    const answer = await connection.ended;
    expect(answer).toMatch(/^HTTP\/1.1 400 Bad Request\r\n[^]*\{"badRequest":\{"code":400,/);
    expect(await lineOf(/x-openstack-request-id: (\S+)/.exec(answer)?.[1])).toMatchObject({ status: 400 });
  });

  it('is in the run, in the decision and in the events of what it changes', async () => {
    const { image } = await flow.upload('by-id');
    const { headers, body } = await api.call('POST /v3/p1/volumes', { volume: { imageRef: image.id, size: 1 } });
    const requestId = headers.get('x-openstack-request-id') ?? '';
    const volumeId: string = body.volume.id;
    await flow.until('the volume to be available', async () => {
      const shown = await api.call(`GET /v3/p1/volumes/${volumeId}`);
      return shown.body.volume.status === 'available';
    });
    const [decision] = await flow.stack.inventory.decisions(volumeId);
    expect(decision).toMatchObject({ requestId });
    const handle = flow.stack.client.workflow.getHandle(decision?.workflowId ?? '');
    const { events } = await handle.fetchHistory();
    const input = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    expect(Buffer.from(input ?? []).toString()).toContain(requestId);
    const inventory = await flow.stack.cache.inventory();
    const kinds = (await inventory.listEvents({ requestId })).map(({ kind }) => kind);
    expect(kinds).toContain('volume.created');
  });

  it('that another service gives is logged beside our own, where it is one', async () => {
    const given = `req-${randomUUID()}`;
    const get = async (id: string) => {
      const { headers } = await api.call('GET /v3/p1/limits', undefined, { headers: { 'x-openstack-request-id': id } });
      return headers.get('x-openstack-request-id');
    };
    const own = await get(given);
    expect(own).toMatch(ID);
    expect(own).not.toBe(given);
    expect(await lineOf(own)).toMatchObject({ globalRequestId: given });
    for (const none of ['req-1', given.toUpperCase(), `x${given}`])
      expect(await lineOf(await get(none))).not.toHaveProperty('globalRequestId');
  });
});
