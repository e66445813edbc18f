import { registerBackend } from '../../../db/backends';
import type { VolumeId } from '../../../workflows/contract/ids';
import { LIMITS } from '../../support/database/rows';
import { useStack } from '../../support/stack/flows';
import { readIvc, spawnIvc } from '../../support/stack/ivc';

const flow = useStack({ workers: [['control']] });

/** What command line, UI and doctor say has to be started. */
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
