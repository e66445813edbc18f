import { createServer, type Server } from 'node:http';
import {
  createComputeService,
  type ComputeService,
  type ServerEvents,
} from '../../../../activities/nova/compute-service';
import { Secret } from '../../../../lib/secret';
import { close, listen } from '../../../../worker/loopback-server';
import type { VolumeId } from '../../../../workflows/contract/ids';

const news: ServerEvents = {
  event: 'volume-reimaged',
  status: 'completed',
  volumeId: 'v' as VolumeId,
  serverIds: ['s1', 's2'],
};

let nova: Server;
let url: string;
let asked: { url: string | undefined; token: unknown; version: unknown; body: unknown }[];
let answers: number[];
/** Of the events, one after the other. */
let codes: number[];
let service: ComputeService;

beforeEach(async () => {
  asked = [];
  codes = [200, 200];
  nova = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const { 'x-auth-token': token, 'openstack-api-version': version } = request.headers;
      const body = JSON.parse(text) as { events: { server_uuid: string }[] };
      asked.push({ url: request.url, token, version, body });
      const events = body.events.map((event, index) => ({ ...event, code: codes[index] }));
      response
        .writeHead(answers.shift() ?? 200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ events }));
    });
  });
  url = `${await listen(nova, { port: 0 })}/v2.1`;
  service = serviceAt(url);
});
afterEach(async () => {
  await service.close();
  await close(nova);
});

function serviceAt(endpoint: string | undefined): ComputeService {
  return createComputeService({
    tls: {},
    getToken: async (rejected) => new Secret(rejected === undefined ? 'first' : 'second'),
    findServiceEndpoint: async () => endpoint,
  });
}

it('tells each server of the volume, in the version that has the event', async () => {
  answers = [];
  await service.tell(news);
  await service.tell({ ...news, event: 'volume-extended', status: 'failed', serverIds: ['s1'] });
  const event = (server_uuid: string) => ({ name: 'volume-reimaged', server_uuid, tag: 'v', status: 'completed' });
  expect(asked).toEqual([
    {
      url: '/v2.1/os-server-external-events',
      token: 'first',
      version: 'compute 2.93',
      body: { events: [event('s1'), event('s2')] },
    },
    expect.objectContaining({
      version: 'compute 2.51',
      body: { events: [{ name: 'volume-extended', server_uuid: 's1', tag: 'v', status: 'failed' }] },
    }),
  ]);
});

it('takes another token where one is refused', async () => {
  answers = [401, 200];
  await service.tell(news);
  expect(asked.map(({ token }) => token)).toEqual(['first', 'second']);
});

it('says which servers are not known, and takes those for told that are on no host', async () => {
  answers = [207, 404];
  codes = [404, 422];
  await expect(service.tell(news)).resolves.toEqual({ unknown: ['s1'] });
  await expect(service.tell(news)).resolves.toEqual({ unknown: ['s1', 's2'] });
});

it.each([401, 403, 500])('fails, to be tried again, where it is answered %i', async (status) => {
  answers = [status, status];
  await expect(service.tell(news)).rejects.toMatchObject({ type: 'ComputeServiceUnavailable', isFinal: false });
});

it('asks nobody where the catalogue has no compute service, or no server has the volume', async () => {
  answers = [];
  await serviceAt(undefined).tell(news);
  await service.tell({ ...news, serverIds: [] });
  expect(asked).toEqual([]);
});
