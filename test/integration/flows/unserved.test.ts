import { temporal } from '@temporalio/proto';
import { findPollers } from '../../../client/pollers';
import { registerBackend } from '../../../db/backends';
import type { VolumeId } from '../../../workflows/contract/ids';
import { LIMITS } from '../../support/database/rows';
import { useStack } from '../../support/stack/flows';
import { readIvc, spawnIvc } from '../../support/stack/ivc';

const { WORKER_STATUS_RUNNING } = temporal.api.enums.v1.WorkerStatus;

const flow = useStack({ workers: [['control']] });

/** The command that has to be started, as command line, UI and doctor say. */
const REMEDY = 'ivc worker --roles backend,host';

beforeAll(async () => {
  // As a worker has left it that is gone.
  const capabilities = { clone: 'instant', clonesPinParent: true, cloneMethod: 'qcow2 overlay' } as const;
  await registerBackend(flow.stack.database, {
    name: flow.stack.backend,
    driver: 'file',
    capabilities,
    limits: LIMITS,
  });
});

it.each(['SIGTERM', 'SIGKILL'] as const)('a worker that has ended by %s polls no more', async (signal) => {
  const { client, cache, backend } = flow.stack;
  const queue = { taskQueue: cache.queues.backend(backend), of: 'activities' } as const;
  const worker = await flow.stack.startWorker(['backend']);
  await flow.until('the worker to poll', async () => (await findPollers(client, queue)).length > 0);
  // The first heartbeat does not tell how often it comes; a worker of before has told that it stops.
  await flow.until('its second heartbeat', async () => {
    const query = `TaskQueue = '${queue.taskQueue}'`;
    const { workersInfo } = await client.workflowService.listWorkers({ namespace: client.options.namespace, query });
    const running = workersInfo.filter(({ workerHeartbeat }) => workerHeartbeat?.status === WORKER_STATUS_RUNNING);
    return running.some(({ workerHeartbeat }) => workerHeartbeat?.elapsedSinceLastHeartbeat);
  });
  await worker.stop(signal);
  // Temporal counts it for minutes.
  await flow.until('the worker to be gone', async () => (await findPollers(client, queue)).length === 0);
  expect(await findPollers(client, queue)).toEqual([]);
});

it('a create whose backend no worker holds says so, and what to start', async () => {
  const { image } = await flow.upload('unserved');
  const { queues } = flow.stack.cache;
  const running = spawnIvc(['volume', 'create', '--image', image.id], flow.stack.environment);
  await running.says(`none polls the task queue ${queues.backend(flow.stack.backend)}; start one with \`${REMEDY}\``);

  const flights = (await readIvc(['status'], flow.stack.environment)).document['flights'] as { workflowId: string }[];
  const { raw } = await flow.stack.client.workflow.getHandle(flights[0]?.workflowId ?? '').describe();
  const summaries = (raw.pendingActivities ?? []).map(({ activityType }) => activityType?.name);
  expect(summaries).toEqual(['pickHost']);
  const history = await flow.stack.client.workflow.getHandle(flights[0]?.workflowId ?? '').fetchHistory();
  const told = (history.events ?? []).map(({ userMetadata }) => String(userMetadata?.summary?.data ?? ''));
  expect(told.join('\n')).toContain(REMEDY);

  const { document } = await readIvc(['doctor'], flow.stack.environment);
  expect(document['findings']).toContainEqual(
    expect.objectContaining({
      check: `queue ${queues.backend(flow.stack.backend)}`,
      state: 'fault',
      remedy: expect.stringContaining(REMEDY),
    }),
  );

  running.process.kill('SIGINT');
  const { exitCode, stderr } = await running.ended;
  expect(exitCode).toBe(130);
  const [, volumeId = ''] = /ivc volume show (\S+)`/.exec(stderr) ?? [];
  for (const workflowId of [queues.ids.createVolume(volumeId as VolumeId), flights[0]?.workflowId ?? ''])
    await flow.stack.client.workflow.getHandle(workflowId).terminate('the test is done');
});
