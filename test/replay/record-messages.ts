import { randomUUID } from 'node:crypto';
import { deleteMessage } from '../../client/messages';
import { createVolume } from '../../client/volumes';
import { changeVolumeType } from '../../client/volume-types';
import { GiB } from '../../workflows/contract/bytes';
import type { FlowStack } from '../support/stack/flows';
import type { Save } from './record-refresh';

/** The message about a volume for which no backend fits, and its end. */
export async function recordMessages({ stack }: FlowStack, save: Save): Promise<void> {
  const { cache } = stack;
  const volumeType = 'unplaced';
  const extraSpecs = { vendor_name: 'nobody' };
  await changeVolumeType(cache, { volumeTypeId: randomUUID(), verb: 'create', name: volumeType, extraSpecs });
  await createVolume(cache, { sizeBytes: GiB, volumeType, acceptUnplaced: true }).catch(() => undefined);
  const [message] = await (await cache.inventory()).listMessages();
  if (message === undefined) throw new Error('a volume for which no backend fits has no message');
  await deleteMessage(cache, message.messageId);
  await save('delete-message', { workflowId: cache.queues.ids.deleteMessage(message.messageId) });
}
