import { MiB } from '../../workflows/contract/bytes';
import { expectCleanSlate } from '../support/stack/flows';
import { expectArrival, expectOnePopulation, startHerd, strikeHerd, type HerdImage } from '../support/stack/herd';
import { useStackWithOwnDatabase } from '../support/stack/own-database';
import { createRandom } from '../support/seeded';

const KILLS = 4;
const GAP_MS = { min: 50, max: 3000 };
const bytesPerSecond = 8 * MiB;

const herd: HerdImage[] = [
  { diskFormat: 'qcow2', creates: 4, warm: true },
  { diskFormat: 'qcow2', creates: 6, virtualBytes: 32 * MiB, dataBytes: 24 * MiB, bytesPerSecond },
  { diskFormat: 'raw', creates: 6, virtualBytes: 32 * MiB, bytesPerSecond },
];

const random = createRandom('database killed');
const { flow, server, restart } = useStackWithOwnDatabase();

describe('a PostgreSQL that is killed at random moments of a herd', () => {
  it('fails no create and loses nothing', async () => {
    const running = await startHerd(flow, herd);
    const gapsMs = Array.from({ length: KILLS }, () => random.mostlyShort(GAP_MS.min, GAP_MS.max));
    await strikeHerd(running, gapsMs, async () => {
      process.kill(server().part.process.pid, 'SIGKILL');
      await server().part.exited;
      await restart();
    });
    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      expect(arrival.bytesServed).toBe(arrival.upload.image.sizeBytes);
    }
    await expectCleanSlate(flow.stack);
  }, 300_000);
});
