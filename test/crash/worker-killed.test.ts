import { dirname, join } from 'node:path';
import { BLOCK_BYTES } from '../../activities/image/hashed-file';
import { MiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import { InventoryProbe } from '../support/database/inventory-probe';
import { expectCleanSlate, useStack, type FlowStack } from '../support/stack/flows';
import { expectArrival, expectOnePopulation, startHerd, strikeHerd, type HerdImage } from '../support/stack/herd';
import { createRandom, fromSeed, type Random } from '../support/seeded';

const KILLS = 20;
/** They run at the same time, each on a stack of its own. */
const STACKS = 4;
const KILLS_OF_STACK = KILLS / STACKS;
/** From a moment at which the worker has not begun to work, to one at which the server has taken a dead one's transfers back. */
const GAP_MS = { min: 200, max: 20_000 };
/** A cold image takes a few seconds, so that moments fall into its download. */
const bytesPerSecond = 8 * MiB;
const second = 'second' as BackendName;

const cold = { bytesPerSecond, virtualBytes: 32 * MiB, dataBytes: 24 * MiB };
const herd: HerdImage[] = [
  { diskFormat: 'qcow2', creates: 2, warm: true },
  { diskFormat: 'raw', creates: 2, warm: true },
  { diskFormat: 'qcow2', creates: 4, ...cold },
  { diskFormat: 'raw', creates: 4, ...cold },
  { diskFormat: 'qcow2', creates: 2, ...cold, alsoOn: [second] },
];

const random = createRandom('worker killed');
const flows = Array.from({ length: STACKS }, () => useStack({ workers: [], otherBackends: [second] }));

describe('a worker that is killed at random moments of a herd', () => {
  it(`loses and doubles nothing in ${KILLS} kills`, async () => {
    const outcomes = await Promise.allSettled(
      flows.map((flow, index) => killThroughHerds(flow, fromSeed(random.seed + index))),
    );
    const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
    if (failures.length > 0) throw new AggregateError(failures);
    expect(outcomes).toHaveLength(STACKS);
  }, 600_000);
});

/** Sends herds until the worker has been killed often enough, each time at once followed by another. */
async function killThroughHerds(flow: FlowStack, own: Random): Promise<void> {
  const { stack } = flow;
  let worker = await stack.spawnWorker();
  await worker.ready;
  let kills = 0;
  while (kills < KILLS_OF_STACK) {
    const running = await startHerd(flow, herd);
    const gapsMs = Array.from({ length: KILLS_OF_STACK - kills }, () => own.mostlyShort(GAP_MS.min, GAP_MS.max));
    const struck = await strikeHerd(running, gapsMs, async () => {
      await worker.stop('SIGKILL');
      worker = await stack.spawnWorker();
    });
    kills += struck;
    await worker.ready;

    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      const sizeBytes = arrival.upload.image.sizeBytes ?? 0;
      expect(arrival.bytesServed).toBeGreaterThanOrEqual(sizeBytes);
      // A kill may hold one backend's flight back until the other's has given the scratch file up.
      expect(arrival.bytesServed).toBeLessThanOrEqual(sizeBytes * arrival.backends.length + struck * BLOCK_BYTES);
    }
    for (const [backend, volumesDirectory] of [
      [stack.backend, stack.volumesDirectory],
      [second, join(dirname(stack.scratchDirectory), second)],
    ] as const) {
      const inventory = new InventoryProbe(stack.database, backend);
      await expectCleanSlate({ ...stack, backend, inventory, volumesDirectory });
    }
  }
}
