import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GiB } from '../../../workflows/contract/bytes';
import type { Image } from '../../../workflows/contract/image';
import { until, useStack, fillScratch } from '../../support/stack/flows';

const MAX_BYTES = GiB;
const flow = useStack({ scratch: { maxBytes: '1GiB', moveAfter: '1s' } });

/** @returns on which host queues the downloads of `image` were scheduled, in order. */
async function queuesOf(image: Image): Promise<string[]> {
  const { events } = await flow.flightHandle(image).fetchHistory();
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
    scheduled?.activityType?.name === 'downloadToScratch' ? [scheduled.taskQueue?.name ?? ''] : [],
  );
}

describe('a population on a host whose scratch has no room', () => {
  it('keeps its place and waits for its turn where there is no other host', async () => {
    const { image, sample } = await flow.upload('alone');
    const giveBack = await fillScratch(flow.stack, MAX_BYTES);
    const create = await flow.start(image);
    await until('the wait to outlast the time after which it would move', async () => {
      const { raw } = await flow.flightHandle(image).describe();
      const [waiting] = raw.pendingActivities ?? [];
      const startedMs = Number(waiting?.lastStartedTime?.seconds ?? Infinity) * 1000;
      return waiting?.activityType?.name === 'downloadToScratch' && Date.now() - startedMs > 3000;
    });
    expect(await flow.heartbeatOf(image)).toContain('first in the queue');
    expect(await queuesOf(image)).toHaveLength(1);
    await giveBack();
    await flow.expectGuestBytes(sample, await create.result());
  });

  it('goes on on another host that has room', async () => {
    const { image, sample } = await flow.upload('moves');
    const giveBack = await fillScratch(flow.stack, MAX_BYTES);
    const create = await flow.start(image);
    await until('the flight to wait', async () => (await flow.heartbeatOf(image)).includes('first in the queue'));
    const directory = `${flow.stack.scratchDirectory}-other`;
    const other = await flow.stack.spawnWorker({ roles: ['backend', 'host'], scratchDirectory: directory });
    await other.ready;
    const { connection } = await create.result();
    await flow.expectGuestBytes(sample, { connection });
    const queues = await queuesOf(image);
    expect(queues.length).toBeGreaterThan(1);
    const hostId = (await readFile(join(directory, 'host-id'), 'utf8')).trim();
    expect(queues.at(-1)).toContain(hostId);
    await other.stop();
    await giveBack();
  });
});
