import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { warmCache } from '../../../client/refresh';
import type { Image } from '../../../workflows/contract/image';
import { useStack } from '../../support/stack/flows';
import { readCounter } from '../../support/stack/metrics';
import { refreshFlows } from '../../support/stack/refresh';
import type { TestWorker } from '../../support/stack/stack';
import { readIvc } from '../../support/stack/ivc';

/** So that three of four images are too many. */
const flow = useStack({ config: { refresh: { maxMissingCount: 1, maxMissingShare: '50%' } } });
const { publish, refresh, imageStateOf } = refreshFlows(flow);

let images: Image[];
beforeAll(async () => {
  images = await Promise.all(Array.from({ length: 4 }, () => publish()));
  const imageIds = images.map(({ id }) => id);
  await warmCache(flow.stack.cache, { imageIds, backends: [flow.stack.backend] }, { wait: true });
});
afterEach(() => flow.stack.imageService.clearFaults());

const readyEntries = async (): Promise<number> => (await flow.stack.inventory.entries({ state: 'ready' })).length;

const nothingRetired = { gone: 0, retiredEntries: [], deletedEntries: 0 };

/** Starts a server as behind a wrong endpoint, or before an account without rights. */
async function answerAll(status: number): Promise<{ server: Server; endpoint: string }> {
  const server = createServer((_, response) => response.writeHead(status).end());
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { server, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function workWith(endpoint: string | undefined): Promise<TestWorker> {
  await flow.stack.workers.at(-1)?.stop();
  const environment = endpoint === undefined ? {} : { OS_IMAGE_ENDPOINT_OVERRIDE: endpoint };
  const worker = await (await flow.stack.spawnWorker({ environment })).ready;
  flow.stack.workers.push(worker);
  return worker;
}

describe('images that are not found', () => {
  it('retire nothing when everything is answered with 404, and the next refresh finds them again', async () => {
    const { server, endpoint } = await answerAll(404);
    const { metricsUrl } = await workWith(endpoint);
    const [one] = images;
    const whole = await refresh();
    expect(whole).toMatchObject({ ...nothingRetired, imagesAsked: 4, unbelieved: 4, unanswered: 0 });
    expect(whole.doubt).toMatch(/4 of 4 .*refresh\.maxMissingCount, 1,.*refresh\.maxMissingShare, 50%/);
    expect(whole.summary).toContain(whole.doubt);
    const few = await refresh({ imageIds: [one?.id ?? ''] });
    expect(few).toMatchObject({ ...nothingRetired, unbelieved: 1 });
    expect(few.doubt).toContain(endpoint);
    expect(await readCounter(metricsUrl, 'ivc_refreshes_total', 'result="unbelieved"')).toBe(5);
    expect(await readyEntries()).toBe(4);
    server.close();
    await workWith(undefined);
    expect(await refresh()).toMatchObject({ usable: 4, unbelieved: 0, doubt: null });
  });

  it('retire nothing when everything is answered with 403: that says nothing of an image', async () => {
    const { server, endpoint } = await answerAll(403);
    await workWith(endpoint);
    expect(await refresh()).toMatchObject({ ...nothingRetired, unanswered: 4, unbelieved: 0 });
    expect(await readyEntries()).toBe(4);
    server.close();
    await workWith(undefined);
  });

  it('retire nothing while the service lists images and knows none of the cache', async () => {
    const [one] = images;
    if (!one) throw new Error('an image');
    await flow.stack.imageService.inject({ kind: 'status-404', on: 'record', times: 1000 });
    const result = await refresh({ imageIds: [one.id] });
    expect(result).toMatchObject({ ...nothingRetired, unbelieved: 1 });
    expect(result.doubt).toContain(flow.stack.imageService.url);
    expect(await readIvc(['refresh', '--image', one.id], flow.stack.environment)).toMatchObject({
      exitCode: 1,
      document: { unbelieved: 1 },
    });
    expect(await imageStateOf(one)).toBe('usable');
  });

  it('retire nothing when too many are missing at once, until an operator says that they are gone', async () => {
    const deleted = images.slice(1);
    for (const { id } of deleted) await flow.stack.images.deleteImage(id);
    const doubted = await refresh();
    expect(doubted).toMatchObject({ ...nothingRetired, usable: 1, unbelieved: 3 });
    expect(doubted.doubt).toMatch(/3 of 4 /);
    const { exitCode, document } = await readIvc(['refresh', '--accept-missing'], flow.stack.environment);
    expect({ exitCode, ...document }).toMatchObject({
      exitCode: 0,
      usable: 1,
      gone: 3,
      unbelieved: 0,
      deletedEntries: 3,
    });
    expect(await readyEntries()).toBe(1);
    expect(await refresh()).toMatchObject({ imagesAsked: 1, usable: 1 });
  });
});
