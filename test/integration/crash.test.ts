import { setTimeout as delay } from 'node:timers/promises';
import { MiB } from '../../workflows/contract/bytes';
import { expectCleanSlate, useStack } from '../support/stack/flows';

const HERD = 16;

const flow = useStack();

describe('a worker that is killed in the middle of a herd', () => {
  // Early and late in its flight; the suite `crash` strikes at every moment.
  it.each([30, 400])('loses and doubles nothing when it dies %d ms after the herd came', async (afterMs) => {
    const { sample, image } = await flow.upload(`killed-${afterMs}`, { virtualBytes: 64 * MiB });
    const running = Promise.all(Array.from({ length: HERD }, () => flow.create(image)));
    await delay(afterMs);
    await flow.stack.workers.at(-1)?.stop('SIGKILL');
    await flow.stack.startWorker();

    const volumes = await running;
    for (const { connection } of volumes) {
      await flow.expectGuestBytes(sample, { connection });
    }
    const entries = await flow.stack.inventory.entries();
    expect(entries.filter(({ hashValue }) => hashValue === image.hashValue)).toMatchObject([
      { state: 'ready', clones: HERD },
    ]);
    expect((await flow.stack.inventory.volumes()).filter(({ state }) => state !== 'available')).toEqual([]);
    await expectCleanSlate(flow.stack);
  });
});
