import { workflowTypes } from '../../workflows/contract/names';
import type { FlowStack } from '../support/stack/flows';
import type { Save } from './record-refresh';

/** The quotas of a project are taken over from a Cinder, and given back. */
export async function recordImports({ stack }: FlowStack, save: Save): Promise<void> {
  const { backend, cache, client } = stack;
  const { ids, control: taskQueue } = cache.queues;
  const source = 'mysql://cinder/cinder';
  const quotas = [{ projectId: 'imported', resource: 'gigabytes', limit: 5 }];
  const imported = ids.importFromCinder(backend, 'request', 1);
  await client.workflow.execute(workflowTypes.importFromCinder, {
    workflowId: imported,
    taskQueue,
    args: [{ backend, source, quotas }],
  });
  await save('import', { workflowId: imported });
  const reverted = ids.revertImport(backend);
  await client.workflow.execute(workflowTypes.revertImport, {
    workflowId: reverted,
    taskQueue,
    args: [{ backend, source }],
  });
  await save('revert-import', { workflowId: reverted });
}
