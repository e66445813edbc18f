import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectDatabase, type Database } from '../../../db/client';
import { startPostgres, type PostgresServer } from '../../../worker/stack';
import { expectCleanSlate, flowsOf } from '../../support/flows';
import { startStack, type Stack } from '../../support/stack';

const WAITING = 6;
const ADMITTED_MEANWHILE = 4;

let directory: string;
let postgres: PostgresServer | undefined;
let database: Database | undefined;
let stack: Stack | undefined;
const flow = flowsOf({
  stack: () => {
    if (stack === undefined || database === undefined) throw new Error('the stack is not up');
    return { ...stack, database };
  },
  directory: () => directory,
});

function startDatabase(): Promise<PostgresServer> {
  return startPostgres({
    directory: join(directory, 'postgres'),
    logPath: join(directory, 'postgres.log'),
    durable: false,
  });
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-pg-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  postgres = await startDatabase();
  stack = await startStack({ config: { database: { url: postgres.url } } });
  database = connectDatabase(postgres.url, { maxConnections: 4, applicationName: 'test' });
});

afterAll(async () => {
  // What was started is stopped, also when a later start failed.
  await stack?.stop();
  await database?.close();
  await postgres?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('a PostgreSQL that is restarted in the middle of creates', () => {
  it('fails none of them: those that wait, those that clone and those that come while it is down', async () => {
    const cached = await flow.upload('cached');
    await flow.create(cached.image);
    const cold = await flow.upload('cold');
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: cold.image.id, times: 1_000_000 });
    const waiting = await Promise.all(Array.from({ length: WAITING }, () => flow.start(cold.image)));
    for (const { volumeId } of waiting) await flow.untilWaiting(volumeId);
    const hits = await Promise.all(Array.from({ length: ADMITTED_MEANWHILE }, () => flow.start(cached.image)));

    await postgres?.stop();
    await flow.stack.imageService.clearFaults();
    const late = await Promise.all(Array.from({ length: ADMITTED_MEANWHILE }, () => flow.start(cached.image)));
    await flow.until('a create to meet the stopped database', async () => {
      const { raw } = (await late[0]?.handle.describe()) ?? {};
      return raw?.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 1);
    });
    postgres = await startDatabase();

    const volumes = await Promise.all([...waiting, ...hits, ...late].map(({ result }) => result()));
    expect(volumes.map(({ outcome }) => outcome).filter((outcome) => outcome === 'hit')).toHaveLength(
      2 * ADMITTED_MEANWHILE,
    );
    for (const { imageId, connection } of volumes) {
      const { sample } = imageId === cold.image.id ? cold : cached;
      await flow.expectGuestBytes(sample, { connection });
    }
    expect(await flow.stack.imageService.counters(cold.image.id)).toMatchObject({ bytesServed: cold.image.sizeBytes });
    await expectCleanSlate(flow.stack);
  }, 120_000);
});
