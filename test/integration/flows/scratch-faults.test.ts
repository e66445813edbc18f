import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import { assertCleanSlate } from '../../support/every-step/slate';
import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, resultOf } from '../../support/every-step/world';
import { until, fillScratch } from '../../support/stack/flows';
import { uploadSample } from '../../support/images/sample-image';

const run = promisify(execFile);
/** Bytes that the scratch may hold when nothing else is said. */
const MAX_BYTES = 50 * GiB;

let stack: EveryStepStack;
beforeAll(async () => {
  // A step that waits for room takes as long as the room does.
  stack = await startEveryStepStack({ fullTimeouts: true });
});
afterAll(() => stack.stop());

async function findPending(workflowId: string) {
  const { raw } = await stack.client.workflow.getHandle(workflowId).describe();
  return raw.pendingActivities?.[0];
}

describe('a scratch', () => {
  it.each(['its files are', 'all of it is'] as const)(
    'of which %s removed between download and conversion is filled again',
    async (what) => {
      const world = await createWorld(stack, 'qcow2 with subclusters');
      const release = stack.faults.hold(world.flightId, 'writeImageVolume');
      const create = world.create();
      await until(
        'the conversion to be next',
        async () =>
          (await findPending(world.flightId).catch(() => undefined))?.activityType?.name === 'writeImageVolume',
      );
      const images = join(stack.scratchDirectory, 'images');
      if (what === 'all of it is') await rm(images, { recursive: true });
      else for (const name of readdirSync(images)) await rm(join(images, name));
      release();
      const ending = await create;
      expect(ending).toMatchObject({ kind: 'done', result: { outcome: 'miss' } });
      expect(await world.hasGuestBytes(resultOf(ending))).toBe(true);
      expect(existsSync(images)).toBe(true);
      await assertCleanSlate(world);
    },
  );

  it('that others fill while a compressed image is expanded is waited for', async () => {
    const world = await createWorld(stack, 'qcow2');
    await run('gzip', ['-kf', world.sample.path]);
    const path = `${world.sample.path}.gz`;
    const image = await uploadSample(stack.images, { ...world.sample, path }, { containerFormat: 'compressed' });
    const { size } = await stat(path);
    const giveBack = await fillScratch(stack, MAX_BYTES - size - MiB);
    const create = world.create(undefined, { imageId: image.id, bypassCache: true });
    const [{ workflowId } = { workflowId: '' }] = await until('the create to have started', () =>
      Promise.resolve(world.creates.length > 0 && world.creates),
    );
    await until('the expansion to wait', async () => {
      const payloads = (await findPending(workflowId))?.heartbeatDetails?.payloads ?? [];
      return payloads.some(({ data }) =>
        Buffer.from(data ?? [])
          .toString()
          .includes('of scratch to decompress into'),
      );
    });
    await giveBack();
    const ending = await create;
    expect(ending).toMatchObject({ kind: 'done', result: { outcome: 'bypassed' } });
    expect(await world.hasGuestBytes(resultOf(ending))).toBe(true);
  });
});
