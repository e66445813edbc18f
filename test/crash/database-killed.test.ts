import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectDatabase, type Database } from '../../db/client';
import { startPostgres, type PostgresServer } from '../../worker/stack';
import { MiB } from '../../workflows/contract/bytes';
import { expectCleanSlate, flowsOf } from '../support/flows';
import { expectArrival, expectOnePopulation, startHerd, strikeHerd, type HerdImage } from '../support/herd';
import { createRandom } from '../support/seeded';
import { startStack, type Stack } from '../support/stack';

const KILLS = 4;
const GAP_MS = { min: 50, max: 3000 };
const bytesPerSecond = 8 * MiB;

const herd: HerdImage[] = [
  { diskFormat: 'qcow2', creates: 4, warm: true },
  { diskFormat: 'qcow2', creates: 6, virtualBytes: 32 * MiB, dataBytes: 24 * MiB, bytesPerSecond },
  { diskFormat: 'raw', creates: 6, virtualBytes: 32 * MiB, bytesPerSecond },
];

const random = createRandom('database killed');
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

/** A server of the suite's own. As root it runs as another user, who must be able to pass through. */
function startDatabase(): Promise<PostgresServer> {
  return startPostgres({
    directory: join(directory, 'postgres'),
    logPath: join(directory, 'postgres.log'),
    durable: false,
  });
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-pg-'));
  chmodSync(directory, 0o711);
  postgres = await startDatabase();
  stack = await startStack({ config: { database: { url: postgres.url } } });
  database = connectDatabase(postgres.url, { maxConnections: 4, applicationName: 'test' });
});

afterAll(async () => {
  await stack?.stop();
  await database?.close();
  await postgres?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('a PostgreSQL that is killed at random moments of a herd', () => {
  it('fails no create and loses nothing', async () => {
    const running = await startHerd(flow, herd);
    const gapsMs = Array.from({ length: KILLS }, () => random.mostlyShort(GAP_MS.min, GAP_MS.max));
    await strikeHerd(running, gapsMs, async () => {
      if (postgres === undefined) throw new Error('no database runs');
      process.kill(postgres.part.process.pid, 'SIGKILL');
      await postgres.part.exited;
      postgres = await startDatabase();
    });
    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      expect(arrival.bytesServed).toBe(arrival.upload.image.sizeBytes);
    }
    await expectCleanSlate(flow.stack);
  }, 300_000);
});
