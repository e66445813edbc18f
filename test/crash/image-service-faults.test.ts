import { MiB } from '../../workflows/contract/bytes';
import { useStack } from '../support/stack/flows';
import { startHerd, strikeHerd, expectWholeHerd, warmAndCold } from '../support/stack/herd';
import { createRandom } from '../support/seeded';

const CUTS = 8;
const STALLS = 1;
const REFUSALS = 12;
const BURSTS = 6;
const BURST_GAP_MS = { min: 20, max: 2000 };
const VIRTUAL_BYTES = 48 * MiB;

const herd = warmAndCold({ virtualBytes: VIRTUAL_BYTES, dataBytes: 32 * MiB });

const random = createRandom('image service faults');
const flow = useStack();

describe('an image service that cuts, stalls and refuses in the middle of a herd', () => {
  it('fails no create and is asked for no byte twice', async () => {
    const { imageService } = flow.stack;
    const running = await startHerd(flow, herd, async ({ image }) => {
      const file = { imageId: image.id, on: 'file' } as const;
      const faults = [
        ...Array.from({ length: CUTS }, () => ({ kind: 'cut', afterBytes: someBytes() }) as const),
        ...Array.from({ length: STALLS }, () => ({ kind: 'stall', afterBytes: someBytes() }) as const),
        ...Array.from({ length: REFUSALS }, () => ({ kind: random.pick(['status-500', 'status-503'] as const) })),
      ];
      for (const fault of shuffled(faults)) await imageService.inject({ ...file, ...fault });
    });
    const gapsMs = Array.from({ length: BURSTS }, () => random.mostlyShort(BURST_GAP_MS.min, BURST_GAP_MS.max));
    // Some requests for a record are refused now.
    await strikeHerd(running, gapsMs, () =>
      imageService.inject({ kind: 'status-503', on: 'record', times: Math.ceil(random.between(1, 5)) }),
    );
    expect(await expectWholeHerd(flow, running)).toHaveLength(herd.length);
  });
});

/** Of a body, which is shorter after each cut. */
function someBytes(): number {
  return Math.floor(random.between(1, VIRTUAL_BYTES / CUTS));
}

function shuffled<T>(items: T[]): T[] {
  return items
    .map((item) => ({ item, order: random.next() }))
    .sort((left, right) => left.order - right.order)
    .map(({ item }) => item);
}
