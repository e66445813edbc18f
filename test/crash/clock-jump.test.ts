import { MiB } from '../../workflows/contract/bytes';
import { useStack } from '../support/stack/flows';
import { startHerd, strikeHerd, expectWholeHerd, warmAndCold } from '../support/stack/herd';
import { createRandom } from '../support/seeded';
import { createShiftedClock } from '../support/machine/shifted-clock';

const HOUR_S = 3600;
const JUMPS_S = [HOUR_S, -HOUR_S, 0];
const GAP_MS = { min: 50, max: 2500 };
/** Longer than the herd takes, shorter than the jump. */
const MAX_COST_S = 1200;

const herd = warmAndCold({ virtualBytes: 48 * MiB, dataBytes: 40 * MiB, bytesPerSecond: 8 * MiB });

const random = createRandom('clock jump');
const flow = useStack({ workers: [] });

describe('a worker whose clock jumps an hour ahead and two back in the middle of a herd', () => {
  it('makes every volume, and measures what it does by another clock', async () => {
    const { stack } = flow;
    const clock = await createShiftedClock(flow.directory);
    const { ready } = await stack.spawnWorker({ environment: clock.environment });
    await ready;
    const running = await startHerd(flow, herd);
    const jumps = [...JUMPS_S];
    const gapsMs = JUMPS_S.map(() => random.mostlyShort(GAP_MS.min, GAP_MS.max));
    await strikeHerd(running, gapsMs, async () => clock.shift(jumps.shift() ?? 0));
    for (const arrival of await expectWholeHerd(flow, running)) {
      for (const { costSeconds } of arrival.entries) {
        expect(costSeconds).toBeGreaterThanOrEqual(0);
        expect(costSeconds).toBeLessThan(MAX_COST_S);
      }
      for (const { timingsMs } of arrival.volumes)
        for (const [stage, ms] of Object.entries(timingsMs)) {
          expect({ stage, ms, isTime: ms >= 0 && ms < MAX_COST_S * 1000 }).toMatchObject({ isTime: true });
        }
    }
  });
});
