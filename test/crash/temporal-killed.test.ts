import { join } from 'node:path';
import { MiB } from '../../workflows/contract/bytes';
import { BLOCK_BYTES } from '../../activities/image/hashed-file';
import { useStack } from '../support/stack/flows';
import { startHerd, strikeHerd, expectWholeHerd, warmAndCold } from '../support/stack/herd';
import { createRandom } from '../support/seeded';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import { startTemporalServer, type TemporalServer } from '../../worker/stack/temporal-server';

const KILLS = 3;
const GAP_MS = { min: 50, max: 5000 };

const herd = warmAndCold({ virtualBytes: 32 * MiB, dataBytes: 24 * MiB, bytesPerSecond: 8 * MiB });

const random = createRandom('Temporal killed');
let temporal: TemporalServer | undefined;
const flow = useStack(async ({ directory, after }) => {
  temporal = await startTemporal(directory, 0);
  after(async () => await temporal?.stop());
  return { temporalAddress: temporal.address };
});

/** With its workflows in a file, as `ivc up` starts it. */
async function startTemporal(directory: string, port: number): Promise<TemporalServer> {
  const { path: binary } = await ensureTemporalBinary();
  const files = { logPath: join(directory, 'temporal.log'), databaseFile: join(directory, 'temporal.db') };
  return await startTemporalServer({ binary, port, ...files });
}

function portOf({ address }: TemporalServer): number {
  return Number(address.split(':').at(-1));
}

describe('a Temporal server that is killed at random moments of a herd', () => {
  it('fails no create and loses nothing', async () => {
    const running = await startHerd(flow, herd);
    const gapsMs = Array.from({ length: KILLS }, () => random.mostlyShort(GAP_MS.min, GAP_MS.max));
    const kills = await strikeHerd(running, gapsMs, async () => {
      if (temporal === undefined) throw new Error('no Temporal server runs');
      const port = portOf(temporal);
      process.kill(temporal.part.process.pid, 'SIGKILL');
      await temporal.part.exited;
      temporal = await startTemporal(flow.directory, port);
      expect(portOf(temporal)).toBe(port);
    });
    expect(await expectWholeHerd(flow, running, { bytesAgain: kills * BLOCK_BYTES })).toHaveLength(herd.length);
  });
});
