import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readdirSync } from 'node:fs';
import { uploadVolume } from '../../client/uploads';
import { startImageService, type RunningImageService } from '../../worker/stack/image-service/server';
import { MiB } from '../../workflows/contract/bytes';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import type { UploadVolumeResult } from '../../workflows/contract/upload';
import { isSameGuest, type QemuDisk } from '../support/images/qemu';
import { createRandom } from '../support/seeded';
import { expectCleanSlate, until, useStack } from '../support/stack/flows';

const STRIKES = 8;
const UPLOADS = 4;
/** From a moment at which an upload has not begun, to one at which the server has taken a dead worker's back. */
const GAP_MS = { min: 200, max: 15_000 };
const bytesPerSecond = 8 * MiB;

const random = createRandom('upload killed');
let service: RunningImageService;
let directory = '';
const flow = useStack(async (place) => {
  directory = join(place.directory, 'images');
  service = await startImageService({ directory, faults: true });
  place.after(() => service.stop());
  return { workers: [], imagesEndpoint: service.url };
});

/** At the same address, as after a kill: half-received uploads are gone. */
async function restartImageService(): Promise<void> {
  const { port } = new URL(service.url);
  await service.stop();
  service = await startImageService({ directory, port: Number(port), faults: true });
}

async function slowDown(): Promise<void> {
  await fetch(`${service.url}/admin/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'slow', on: 'upload', bytesPerSecond, times: 1_000_000 }),
  });
}

const diskOf = ({ connection }: CreateVolumeResult): QemuDisk => {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return { filename: connection.path, format: connection.format };
};

describe('uploads whose worker and image service are killed at random moments', () => {
  it(`end whole, or leave nothing where they are cancelled, in ${STRIKES} strikes`, async () => {
    const { stack } = flow;
    let worker = await stack.spawnWorker();
    await worker.ready;
    const { image } = await flow.upload('source', { virtualBytes: 32 * MiB, dataBytes: 24 * MiB });
    const volumes = await Promise.all(Array.from({ length: UPLOADS }, () => flow.create(image)));
    await slowDown();
    const runs = await Promise.all(
      volumes.map(async (volume, index) => {
        const diskFormat = index % 2 === 0 ? 'raw' : 'qcow2';
        const started = await uploadVolume(
          stack.cache,
          { volumeId: volume.volumeId, diskFormat, seedCache: index === 1 },
          { wait: false },
        );
        const handle = stack.client.workflow.getHandle(started.workflowId, started.runId);
        return { volume, handle, imageId: started.imageId };
      }),
    );
    const ends = Promise.allSettled(runs.map(({ handle }) => handle.result() as Promise<UploadVolumeResult>));
    const isOver = (): Promise<boolean> => Promise.race([ends.then(() => true), Promise.resolve(false)]);
    for (let strike = 0; strike < STRIKES && !(await isOver()); strike += 1) {
      await delay(random.mostlyShort(GAP_MS.min, GAP_MS.max));
      if (strike === 2) await runs[3]?.handle.cancel();
      if (strike % 2 === 0) {
        await worker.stop('SIGKILL');
        worker = await stack.spawnWorker();
      } else {
        await restartImageService();
        await slowDown();
      }
    }
    const outcomes = await ends;
    expect(outcomes.slice(0, 3).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
    for (const [index, { volume, imageId }] of runs.entries()) {
      const made = await stack.images.getImage(imageId).catch(() => undefined);
      // One that was cancelled may have been whole by then.
      const isDone = outcomes[index]?.status === 'fulfilled';
      expect(made === undefined ? !isDone : made.status === 'active').toBe(true);
      const again = made && (await flow.create(made, { bypassCache: true }));
      expect(again === undefined || (await isSameGuest(diskOf(volume), diskOf(again)))).toBe(true);
    }
    const snapshots = () => readdirSync(join(stack.volumesDirectory, 'snapshots'));
    await until('no snapshot to be left', () => Promise.resolve(snapshots().length === 0));
    await expectCleanSlate(stack);
  }, 600_000);
});
