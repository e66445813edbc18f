import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../workflows/contract/bytes';
import { BLOCK_BYTES } from '../../activities/image/hashed-file';
import { expectCleanSlate, flowsOf } from '../support/stack/flows';
import { expectArrival, expectOnePopulation, startHerd, strikeHerd, type HerdImage } from '../support/stack/herd';
import { createRandom } from '../support/seeded';
import { startStack, type Stack } from '../support/stack/stack';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import { startTemporalServer, type TemporalServer } from '../../worker/stack/temporal-server';

const KILLS = 3;
const GAP_MS = { min: 50, max: 5000 };
const bytesPerSecond = 8 * MiB;

const herd: HerdImage[] = [
  { diskFormat: 'qcow2', creates: 4, warm: true },
  { diskFormat: 'qcow2', creates: 6, virtualBytes: 32 * MiB, dataBytes: 24 * MiB, bytesPerSecond },
  { diskFormat: 'raw', creates: 6, virtualBytes: 32 * MiB, bytesPerSecond },
];

const random = createRandom('Temporal killed');
let directory: string;
let temporal: TemporalServer | undefined;
let stack: Stack | undefined;
const flow = flowsOf({
  stack: () => {
    if (stack === undefined) throw new Error('the stack is not up');
    return stack;
  },
  directory: () => directory,
});

/** With its workflows in a file, as `ivc up` starts it. */
async function startTemporal(port: number): Promise<TemporalServer> {
  const { path: binary } = await ensureTemporalBinary();
  return await startTemporalServer({
    binary,
    port,
    logPath: join(directory, 'temporal.log'),
    databaseFile: join(directory, 'temporal.db'),
  });
}

function portOf({ address }: TemporalServer): number {
  return Number(address.split(':').at(-1));
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-temporal-'));
  temporal = await startTemporal(0);
  stack = await startStack({ temporalAddress: temporal.address });
});

afterAll(async () => {
  await stack?.stop();
  await temporal?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('a Temporal server that is killed at random moments of a herd', () => {
  it('fails no create and loses nothing', async () => {
    const running = await startHerd(flow, herd);
    const gapsMs = Array.from({ length: KILLS }, () => random.mostlyShort(GAP_MS.min, GAP_MS.max));
    const kills = await strikeHerd(running, gapsMs, async () => {
      if (temporal === undefined) throw new Error('no Temporal server runs');
      const port = portOf(temporal);
      process.kill(temporal.part.process.pid, 'SIGKILL');
      await temporal.part.exited;
      temporal = await startTemporal(port);
      expect(portOf(temporal)).toBe(port);
    });
    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      const sizeBytes = arrival.upload.image.sizeBytes ?? 0;
      expect(arrival.bytesServed).toBeGreaterThanOrEqual(sizeBytes);
      expect(arrival.bytesServed).toBeLessThanOrEqual(sizeBytes + kills * BLOCK_BYTES);
    }
    await expectCleanSlate(flow.stack);
  }, 300_000);
});
