import { WorkflowNotFoundError } from '@temporalio/client';
import { evictorOf } from '../support/stack/evictor';
import { until } from '../support/stack/flows';
import { startStack, type Stack } from '../support/stack/stack';
import { readIvc } from '../support/stack/ivc';
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';

const on = { refresh: '0 3 * * *', reconcile: '30m', evict: '1h' };

let stack: Stack;
// Several hooks: each runs whatever another one throws.
afterEach(() => stack.client.workflow.getHandle(stack.cache.queues.ids.evict(stack.backend)).terminate());
afterEach(async () => {
  for (const id of scheduleIds())
    await stack.client.schedule
      .getHandle(id)
      .delete()
      .catch(() => undefined);
});
afterEach(() => stack.stop());

const scheduleIds = (): string[] => [stack.cache.queues.ids.refresh, stack.cache.queues.ids.reconcile(stack.backend)];
const evictor = () =>
  evictorOf({
    client: stack.client,
    backend: stack.backend,
    taskQueue: stack.cache.queues.control,
    workflowId: stack.cache.queues.ids.evict(stack.backend),
  });
const status = () => evictor().status();
const schedules = async (): Promise<(string | undefined)[]> =>
  await Promise.all(
    scheduleIds().map(async (id) => {
      try {
        const { spec, action } = await stack.client.schedule.getHandle(id).describe();
        const every = spec.intervals?.[0]?.every;
        const when =
          every === undefined ? `at ${spec.calendars?.[0]?.hour?.[0]?.start} h` : `every ${every / 60_000} min`;
        return `${action.workflowType} ${when}`;
      } catch {
        return undefined;
      }
    }),
  );

/** The next worker reads it. */
function configure(given: Partial<typeof on>): void {
  const path = stack.environment['IVC_CONFIG'] ?? '';
  const config = parse(readFileSync(path, 'utf8')) as { schedules: object };
  writeFileSync(path, stringify({ ...config, schedules: { ...config.schedules, ...given } }));
}

async function restartWorker(): Promise<void> {
  await stack.workers.at(-1)?.stop();
  await stack.startWorker();
}

it('a worker sets up what runs by itself, tells it of a changed configuration and takes away what is switched off', async () => {
  stack = await startStack({ config: { schedules: on } });
  expect(await status()).toMatchObject({ sweepIntervalMs: 3_600_000, paused: false });
  expect(await schedules()).toEqual(['RefreshImageCache at 3 h', 'ReconcileBackend every 30 min']);
  const doctor = await readIvc(['doctor'], stack.environment);
  const checks = doctor.document['findings'] as { check: string; state: string }[];
  const standing = [stack.cache.queues.ids.evict(stack.backend), ...scheduleIds().map((id) => `schedule ${id}`)];
  expect(checks.filter(({ check }) => standing.includes(check)).map(({ state }) => state)).toEqual(['ok', 'ok', 'ok']);

  configure({ evict: '2h', refresh: '0 4 * * *', reconcile: 'off' });
  await restartWorker();
  await until('the evictor to learn it', async () => (await status()).sweepIntervalMs === 7_200_000);
  expect(await schedules()).toEqual(['RefreshImageCache at 4 h', undefined]);

  configure({ evict: 'off', refresh: 'off' });
  await restartWorker();
  await until('the evictor to learn it', async () => (await status()).sweepIntervalMs === null);
  expect(await schedules()).toEqual([undefined, undefined]);
});

it('a stack with everything switched off starts nothing by itself, and a periodic sweep comes once it is on', async () => {
  stack = await startStack();
  await expect(status()).rejects.toThrow(WorkflowNotFoundError);
  expect(await schedules()).toEqual([undefined, undefined]);
  configure({ evict: '1s' });
  await restartWorker();
  await until('two sweeps', async () => (await status()).sweeps >= 2);
  expect((await status()).results).toEqual([]);
});
