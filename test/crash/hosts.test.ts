import { join } from 'node:path';
import { reconcile } from '../../client/reconcile';
import { GiB, MiB } from '../../workflows/contract/bytes';
import { expectCleanSlate, until, useStack, type FlowStack, fillScratch } from '../support/stack/flows';
import { expectArrival, expectOnePopulation, startHerd, type HerdImage, expectWholeHerd } from '../support/stack/herd';
import type { StartingWorker } from '../support/stack/stack';

const off = { refresh: 'off', reconcile: 'off', evict: 'off' };
const hostRoles = ['backend', 'host'];
const bytesPerSecond = 4 * MiB;

const cold = { creates: 6, virtualBytes: 32 * MiB, dataBytes: 24 * MiB, bytesPerSecond };
const herd: HerdImage[] = [
  { diskFormat: 'qcow2', ...cold },
  { diskFormat: 'raw', ...cold },
];

/** A host beside the stack's own. */
async function spawnHost({ stack, directory }: FlowStack, name: string): Promise<StartingWorker> {
  const worker = await stack.spawnWorker({ roles: hostRoles, scratchDirectory: join(directory, name) });
  await worker.ready;
  return worker;
}

describe('a host that falls silent in the middle of its transfers and is lost', () => {
  const flow = useStack({ workers: [['control']], config: { schedules: { ...off, grace: '1ms' } } });

  it('is followed by another host, which begins from the start; the waiters see nothing', async () => {
    const { stack } = flow;
    const lost = await stack.spawnWorker({ roles: hostRoles });
    await lost.ready;
    const running = await startHerd(flow, herd);
    for (const { upload } of running.members)
      await until('the host to have bytes of each image', async () => {
        const { bytesServed } = await stack.imageService.counters(upload.image.id);
        return bytesServed > 4 * MiB;
      });
    lost.process.kill('SIGSTOP');
    const other = await spawnHost(flow, 'other');
    for (const { upload } of running.members)
      await until('the server to have taken the transfer back', async () => {
        const { raw } = await flow.flightHandle(upload.image).describe();
        return raw.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 1);
      });
    await lost.stop('SIGKILL');
    for (const arrival of await expectArrival(flow, running)) {
      expectOnePopulation(arrival);
      const sizeBytes = arrival.upload.image.sizeBytes ?? 0;
      expect(arrival.bytesServed).toBeLessThanOrEqual(2 * sizeBytes);
      const flight = await flow.flightOf(arrival.upload.image);
      expect(flight).toMatchObject({ flight: 1, answered: true });
    }
    // The content of the lost host's scratch is reported, and given back when its worker is there again.
    const look = async () => (await reconcile(stack.cache, { backend: stack.backend }, { wait: true })).result;
    expect((await look()).counts).toMatchObject({ 'scratch-of-lost-host': 1 });
    expect(await other.stop()).toBe(0);
    await stack.startWorker();
    expect((await look()).counts).toMatchObject({ 'scratch-unused': 1 });
    await expectCleanSlate(stack);
  });
});

describe('two hosts of which the scratch of one is full', () => {
  // By chance all images may come to the full host first: they go on to the other one soon.
  const flow = useStack({ workers: [['control'], hostRoles], scratch: { moveAfter: '10s' } });

  it('make all volumes of a herd: who waits for the full one has its turn when there is room', async () => {
    const { stack } = flow;
    await spawnHost(flow, 'roomy');
    const giveBack = await fillScratch(stack, 50 * GiB);
    const images = Array.from({ length: 6 }, (): HerdImage => ({ diskFormat: 'qcow2', creates: 2 }));
    const running = await startHerd(flow, images);
    await until('a volume to be made on the host with room', async () => {
      const rows = await stack.database.sql`select 1 from volumes where state = 'available' limit 1`;
      return rows.length > 0;
    });
    await giveBack();
    expect(await expectWholeHerd(flow, running)).toHaveLength(images.length);
  });
});
