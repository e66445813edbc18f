import { join } from 'node:path';
import { parseDatabaseUrl } from '../../../db/url';
import { runIvc } from '../../support/stack/ivc';
import { createTestDatabase, testDatabaseUrl, type TestDatabase } from '../../support/database/postgres';
import { startStack, type Stack } from '../../support/stack/stack';
import { startTcpGate, type TcpGate } from '../../support/machine/tcp-gate';

const UNAVAILABLE = 5;
const grace = { worker: { shutdownGrace: '1s' } };

let gate: TcpGate;
let stack: Stack | undefined;

afterEach(async () => {
  gate.speak();
  await stack?.stop();
  stack = undefined;
});
afterEach(() => gate.close());

function worker() {
  const [first] = stack?.workers ?? [];
  if (first === undefined) throw new Error('no worker');
  return first;
}

function ivc(...args: string[]) {
  if (stack === undefined) throw new Error('no stack');
  return runIvc(args, stack.environment);
}

describe('a database that falls silent', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase();
    const { host, port } = parseDatabaseUrl(testDatabaseUrl());
    gate = await startTcpGate(join(host, `.s.PGSQL.${port}`));
    const url = database.url.replace(/@[^/]*/, `@127.0.0.1:${gate.port}`);
    stack = await startStack({ config: { database: { url }, ...grace } });
  });
  afterEach(() => database.drop());

  it('is told by /readyz and by every command, and holds up neither /livez nor a stop', async () => {
    expect((await fetch(worker().readinessUrl)).status).toBe(200);
    gate.fallSilent();
    const probes = await Promise.all([fetch(worker().readinessUrl), fetch(worker().readinessUrl)]);
    for (const probe of probes) {
      expect(probe.status).toBe(503);
      expect(await probe.text()).not.toBe('ok\n');
    }
    expect((await fetch(worker().livenessUrl)).status).toBe(200);
    const [list, doctor] = await Promise.all([ivc('volume', 'list', '--json'), ivc('doctor', '--json')]);
    expect([list.exitCode, doctor.exitCode]).toEqual([UNAVAILABLE, UNAVAILABLE]);
    expect(JSON.parse(list.stdout)).toMatchObject({ error: { type: 'DatabaseUnavailable' } });
    expect(JSON.parse(doctor.stdout)).toMatchObject({
      findings: expect.arrayContaining([expect.objectContaining({ check: 'database', state: 'fault' })]),
    });
    expect(await worker().stop('SIGTERM')).toBe(0);
  });
});

describe('a Temporal server that falls silent', () => {
  beforeEach(async () => {
    gate = await startTcpGate(`http://${process.env['IVC_TEST_TEMPORAL_ADDRESS']}`);
    stack = await startStack({ temporalAddress: `127.0.0.1:${gate.port}`, config: grace });
  });

  it('is told by every command, and holds up neither /livez nor a stop', async () => {
    const image = await stack?.images.createImage({ name: 'silent', diskFormat: 'raw', containerFormat: 'bare' });
    gate.fallSilent();
    const create = ['volume', 'create', '--json', '--image', image?.id ?? ''];
    const outcomes = await Promise.all([
      ivc(...create),
      ivc('cache', 'warm', '--image', create.at(-1) ?? ''),
      ivc('doctor'),
      ivc('evict'),
    ]);
    expect(outcomes.map(({ exitCode }) => exitCode)).toEqual(Array(outcomes.length).fill(UNAVAILABLE));
    expect(JSON.parse(outcomes[0]?.stdout ?? '')).toMatchObject({ error: { type: 'TemporalUnavailable' } });
    expect((await fetch(worker().livenessUrl)).status).toBe(200);
    expect(await worker().stop('SIGTERM')).toBe(0);
  });

  it('in the middle of a call of a client fails it, and later ones are answered again', async () => {
    const client = await stack?.cache.temporal();
    if (client === undefined) throw new Error('no client');
    const describe = () => client.workflowService.describeNamespace({ namespace: client.options.namespace });
    await describe();
    gate.fallSilent();
    await expect(describe()).rejects.toMatchObject({ code: 4 });
    gate.speak();
    await describe();
  });
});
