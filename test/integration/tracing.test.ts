import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import { parse } from 'yaml';
import { createGlanceClient } from '../../activities/glance/client';
import { createKeystoneRequests } from '../../activities/keystone/requests';
import { openClient } from '../../client/connection';
import { createVolume } from '../../client/volumes';
import { Secret } from '../../lib/secret';
import { traced } from '../../lib/traced';
import { startTraceReceiver, type ReceivedSpan, type TraceReceiver } from '../support/machine/trace-receiver';
import { useStack } from '../support/stack/flows';
import { runIvc } from '../support/stack/ivc';

const tell = resolve(__dirname, '../support/machine/tell-loaded-packages.cjs');
let receiver: TraceReceiver;

const flow = useStack(async ({ after }) => {
  receiver = await startTraceReceiver();
  after(() => receiver.close());
  const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '200' };
  Object.assign(process.env, environment);
  after(async () => Object.keys(environment).forEach((name) => delete process.env[name]));
  return { environment };
});

const openOwnClient = () => {
  const { IVC_CONFIG: config, IVC_DATA: dataDirectory } = flow.stack.environment;
  return openClient({ config, dataDirectory });
};

/** @returns the names of a span's ancestors, the first one first, and its own; undefined while one of them has not come. */
function wayTo(span: ReceivedSpan): string[] | undefined {
  if (!span.parentSpanId) return [span.name];
  const parent = receiver.spans.find(({ spanId }) => spanId === span.parentSpanId);
  const way = parent && wayTo(parent);
  return way && [...way, span.name];
}

/** The one trace that a root begins, when a run of each of `workflows` has ended in it and no span lacks its parent. */
function wholeTrace(root: string, workflows: string[]): Promise<ReceivedSpan[]> {
  return flow.until(`the trace of ${root}`, async () => {
    const first = receiver.spans.find(({ name, parentSpanId }) => name === root && !parentSpanId);
    const trace = receiver.spans.filter(({ traceId }) => traceId === first?.traceId);
    const ended = workflows.every((type) => trace.some(({ name }) => name === `RunWorkflow:${type}`));
    return ended && trace.every(wayTo) && trace;
  });
}

it('a miss by the library is one trace from its start through the create and the flight to SQL, HTTP and tools', async () => {
  const { image } = await flow.upload('traced');
  const cache = openOwnClient();
  const { volumeId, outcome } = await createVolume(cache, { imageId: image.id, backend: flow.stack.backend });
  await cache.close();
  expect(outcome).toBe('miss');

  const trace = await wholeTrace('StartWorkflow:CreateVolumeFromImage', [
    'CreateVolumeFromImage',
    'PopulateImageCache',
  ]);
  const [start] = trace.filter(({ parentSpanId }) => !parentSpanId);
  expect(trace.filter(({ parentSpanId }) => !parentSpanId)).toHaveLength(1);
  expect(start).toMatchObject({
    service: 'image-volume-cache',
    attributes: { temporalWorkflowId: flow.stack.cache.queues.ids.createVolume(volumeId) },
  });

  const find = (isIt: (span: ReceivedSpan) => boolean) => trace.filter(isIt).map((span) => wayTo(span)?.join(' > '));
  const create = 'StartWorkflow:CreateVolumeFromImage > RunWorkflow:CreateVolumeFromImage > ';
  const [flight = ''] = find(({ name }) => name === 'RunWorkflow:PopulateImageCache');
  expect(flight).toMatch(
    new RegExp(
      `^${create}StartActivity:(\\w+) > RunActivity:\\1 > StartWorkflow:PopulateImageCache > RunWorkflow:PopulateImageCache$`,
    ),
  );

  const ofSql = find(({ attributes }) => 'db.query.text' in attributes);
  expect(ofSql).toContainEqual(
    expect.stringMatching(`^${create}StartActivity:admitVolume > RunActivity:admitVolume > `),
  );
  expect(ofSql).toContainEqual(expect.stringMatching(`^${flight} > StartActivity:\\w+ > RunActivity:\\w+ > `));
  const ofHttp = find(({ attributes }) => attributes['http.response.status_code'] === 200);
  expect(ofHttp).toContain(`${create}StartActivity:admitVolume > RunActivity:admitVolume > GET glance`);
  expect(ofHttp).toContain(`${flight} > StartActivity:downloadToScratch > RunActivity:downloadToScratch > GET glance`);
  const ofTools = find(
    ({ name, attributes }) =>
      name === 'qemu-img' &&
      attributes['process.executable.name'] === 'qemu-img' &&
      attributes['process.exit.code'] === 0,
  );
  expect(ofTools).toContainEqual(
    expect.stringMatching(`^${flight} > StartActivity:\\w+ > RunActivity:\\w+ > qemu-img$`),
  );
  expect(new Set(trace.map(({ service }) => service))).toEqual(
    new Set(['image-volume-cache', 'image-volume-cache-worker']),
  );

  const { password } = new URL(configuredDatabase());
  expect(password).not.toBe('');
  expect(receiver.received()).not.toContain(password);
  // Statements are sent with places for values.
  const texts = trace.map(({ attributes }) => attributes['db.query.text'] ?? '').join('\n');
  expect(texts).toContain('$1');
  for (const value of [image.id, volumeId]) expect(texts).not.toContain(value);
});

function configuredDatabase(): string {
  const { database } = parse(readFileSync(String(flow.stack.environment['IVC_CONFIG']), 'utf8')) as {
    database: { url: string };
  };
  return database.url;
}

it('a create that joins a flight has a link to it, and requests to Glance carry the span that they belong to', async () => {
  const requests: IncomingMessage[] = [];
  const hear = (message: unknown): void => void requests.push((message as { request: IncomingMessage }).request);
  subscribe('http.server.request.start', hear);
  const { image } = await flow.upload('traced-joined');
  await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
  const cache = openOwnClient();
  const begin = async () => {
    const request = { imageId: image.id, backend: flow.stack.backend };
    const { volumeId, workflowId } = await createVolume(cache, request, { wait: false });
    await flow.untilWaiting(volumeId);
    return { workflowId, result: () => flow.stack.client.workflow.getHandle(workflowId).result() };
  };
  const leader = await begin();
  const joiner = await begin();
  await flow.stack.imageService.clearFaults();
  expect(await Promise.all([leader.result(), joiner.result()])).toMatchObject([
    { outcome: 'miss' },
    { outcome: 'joined' },
  ]);
  unsubscribe('http.server.request.start', hear);
  await cache.close();

  const traceIdOf = (workflowId: string) =>
    receiver.spans.find(
      ({ parentSpanId, attributes }) => !parentSpanId && attributes['temporalWorkflowId'] === workflowId,
    )?.traceId;
  const [join] = await flow.until('the span of who joins', async () => {
    const found = receiver.spans.filter(({ name }) => name === 'join flight');
    return found.length > 0 && traceIdOf(joiner.workflowId) !== undefined && found;
  });
  const flight = await flow.until('the span of the flight', async () =>
    receiver.spans.find(
      ({ name, traceId }) => name === 'RunWorkflow:PopulateImageCache' && traceId === traceIdOf(leader.workflowId),
    ),
  );
  expect(join).toMatchObject({
    traceId: traceIdOf(joiner.workflowId),
    attributes: { 'ivc.flight.workflow_id': flow.flightHandle(image).workflowId, 'ivc.flight.number': 1 },
    links: [{ traceId: flight.traceId, spanId: flight.parentSpanId }],
  });

  const carried = requests.filter(({ url }) => url?.includes(image.id)).map(({ headers }) => headers['traceparent']);
  const ofGlance = receiver.spans.filter(
    ({ name, traceId, attributes }) =>
      name === 'GET glance' && traceId === flight.traceId && String(attributes['url.path']).includes(image.id),
  );
  expect(ofGlance.map(({ attributes }) => attributes['url.path'])).toContain(`/v2/images/${image.id}/file`);
  for (const { traceId, spanId } of ofGlance) expect(carried).toContain(`00-${traceId}-${spanId}-01`);
});

it('a create by `ivc` is in the trace of the command', async () => {
  const { image } = await flow.upload('traced-command');
  const args = ['volume', 'create', '--image', image.id, '--backend', flow.stack.backend];
  const { exitCode, stderr } = await runIvc(args, flow.stack.environment);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0, stderr: expect.not.stringContaining('Warning') });
  const trace = await wholeTrace('ivc volume create', ['CreateVolumeFromImage', 'PopulateImageCache']);
  expect(trace.map((span) => wayTo(span)?.join(' > '))).toContain(
    'ivc volume create > StartWorkflow:CreateVolumeFromImage > RunWorkflow:CreateVolumeFromImage',
  );
});

it('requests to Glance and Keystone tell neither tokens nor queries nor bodies', async () => {
  const cache = openOwnClient();
  const secrets = ['token-of-a-test', 'name-of-a-test', 'password-of-a-test', 'query-of-a-test'];
  const [token = '', name = '', password = '', query = ''] = secrets;
  const { url } = flow.stack.imageService;
  const glance = createGlanceClient({ endpoint: url, getToken: async () => new Secret(token) });
  const keystone = createKeystoneRequests(url, {});
  await traced(
    () => ({ name: 'requests', attributes: {}, mayBegin: true }),
    async () => {
      await glance.listImages({ name });
      await keystone.exchange({
        method: 'POST',
        path: `/auth/tokens?q=${query}`,
        body: JSON.stringify({ password }),
        token,
      });
    },
  );
  await Promise.all([glance.close(), keystone.close(), cache.close()]);
  const spans = receiver.spans.filter((span) => wayTo(span)?.[0] === 'requests');
  expect(
    spans.map((span) => [span.name, span.attributes['url.path'], span.attributes['http.response.status_code']]),
  ).toEqual(
    expect.arrayContaining([
      ['GET glance', '/v2/images', 200],
      ['POST keystone', '/auth/tokens', expect.any(Number)],
    ]),
  );
  for (const secret of secrets) expect(receiver.received()).not.toContain(secret);
});

it('a worker loads nothing of OpenTelemetry where no variable asks for traces', async () => {
  const loadedBy = async (environment: NodeJS.ProcessEnv): Promise<string> => {
    const worker = await flow.stack.spawnWorker({
      roles: ['control'],
      environment: { ...environment, NODE_OPTIONS: `--require ${tell}` },
    });
    await worker.ready;
    expect(await worker.stop()).toBe(0);
    return readFileSync(worker.logPath, 'utf8');
  };
  const off = await loadedBy({ OTEL_EXPORTER_OTLP_ENDPOINT: undefined });
  expect(off).toMatch(/^loaded .*"@temporalio\/worker"/m);
  expect(off).not.toMatch(/^loaded .*opentelemetry/m);
  expect(await loadedBy({})).toMatch(/^loaded .*"@opentelemetry\/api".*"@temporalio\/interceptors-opentelemetry"/m);
});
