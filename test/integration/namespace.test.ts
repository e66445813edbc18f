import { randomUUID } from 'node:crypto';
import { startStack, type Stack } from '../support/stack/stack';
import { until } from '../support/stack/flows';
import { readIvc } from '../support/stack/ivc';

const RETENTION_SECONDS = 86_400;

let stack: Stack;
beforeEach(async () => (stack = await startStack()));
afterEach(() => stack.stop());

/** @returns its name and the server's own id of it, when workers can use it. */
async function makeNamespace(): Promise<{ name: string; id: string }> {
  const { workflowService } = stack.client;
  const namespace = `other-${randomUUID()}`;
  await workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: RETENTION_SECONDS as never },
  });
  const id = await until('the namespace to be there', async () => {
    try {
      await workflowService.listWorkflowExecutions({ namespace, pageSize: 1 });
      return (await workflowService.describeNamespace({ namespace })).namespaceInfo?.id ?? undefined;
    } catch {
      return undefined;
    }
  });
  return { name: namespace, id };
}

async function findingOf(environment: NodeJS.ProcessEnv): Promise<unknown> {
  const { document } = await readIvc(['doctor'], { ...stack.environment, ...environment });
  return (document['findings'] as { check: string }[]).find(({ check }) => check === 'inventory');
}

it('a worker of another namespace refuses to start, the doctor says it too, and an operator moves the inventory on purpose', async () => {
  const { namespace } = stack.client.options;
  const { namespaceInfo } = await stack.client.workflowService.describeNamespace({ namespace });
  const ours = namespaceInfo?.id ?? '';
  const { name, id } = await makeNamespace();
  const environment = { TEMPORAL_NAMESPACE: name };
  expect(await findingOf({})).toMatchObject({
    state: 'ok',
    found: expect.stringContaining(`${namespace} (${ours})`) as string,
  });
  expect(await findingOf(environment)).toMatchObject({
    state: 'fault',
    found: expect.stringMatching(new RegExp(`${namespace} \\(${ours}\\).* ${name} \\(${id}\\)`)) as string,
    remedy: expect.stringContaining(`IVC_MOVED_NAMESPACE=${ours} ivc worker`) as string,
  });
  await stack.workers[0]?.stop();
  const refused = await stack.spawnWorker({ environment });
  await expect(refused.ready).rejects.toThrow(
    new RegExp(`temporal\\.namespace: got ${name} \\(${id}\\).* ${namespace} \\(${ours}\\)`),
  );
  const moved = await stack.spawnWorker({ environment: { ...environment, IVC_MOVED_NAMESPACE: ours } });
  await moved.ready;
  await moved.stop();
  expect(await findingOf(environment)).toMatchObject({ state: 'ok' });
  const late = await stack.spawnWorker();
  await expect(late.ready).rejects.toThrow(`${name} (${id})`);
});
