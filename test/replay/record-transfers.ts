import { randomUUID } from 'node:crypto';
import { changeSnapshot, createSnapshot } from '../../client/snapshots';
import { acceptTransfer, createTransfer, deleteTransfer } from '../../client/transfers';
import { changeVolumeType } from '../../client/volume-types';
import type { SnapshotId } from '../../workflows/contract/ids';
import type { FlowStack } from '../support/stack/flows';
import type { Save } from './record-refresh';

/** A change of a snapshot, offers of a volume: one that ends, and one that is accepted; a volume type. */
export async function recordTransfers(flow: FlowStack, save: Save): Promise<void> {
  const { cache } = flow.stack;
  const { ids } = cache.queues;
  const { image } = await flow.upload('transfer');
  const { volumeId } = await flow.create(image);
  const snapshotId = randomUUID() as SnapshotId;
  await createSnapshot(cache, { volumeId, snapshotId }, { wait: true });
  await changeSnapshot(cache, snapshotId, { name: 'changed' });
  await save('change-snapshot', { workflowId: await runOf(flow, 'ChangeSnapshot') });

  const ended = await createTransfer(cache, { volumeId });
  await save('transfer', { workflowId: ids.createTransfer(ended.transferId) });
  await deleteTransfer(cache, ended.transferId);
  await save('delete-transfer', { workflowId: ids.deleteTransfer(ended.transferId) });
  const { transferId, key } = await createTransfer(cache, { volumeId });
  await acceptTransfer(cache, transferId, { key, projectId: 'accepting' });
  await save('accept-transfer', { workflowId: await runOf(flow, 'AcceptTransfer') });
  await changeVolumeType(cache, { volumeTypeId: randomUUID(), verb: 'create', name: 'recorded' });
  await save('volume-type', { workflowId: await runOf(flow, 'ChangeVolumeType') });
}

/** Its id has a part that its client has chosen. */
async function runOf({ stack }: FlowStack, type: string): Promise<string> {
  const client = await stack.cache.temporal();
  for await (const { workflowId } of client.workflow.list({ query: `WorkflowType = '${type}'` })) return workflowId;
  throw new Error(`no run of ${type} was found`);
}
