import { randomUUID } from 'node:crypto';
import type { AttachmentChange, ChangeAttachmentResult } from '../workflows/contract/attachment';
import type { Caller } from '../workflows/contract/event-kinds';
import type { VolumeId } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type { ImageVolumeCache } from './connection';
import type { OfProject } from './inventory';
import { checkUuid } from './object-ids';
import { runWorkflow } from './run-workflow';

/**
 * Makes, changes or ends an attachment of a volume.
 * @throws ImageVolumeCacheError `VolumeNotFound`, `VolumeNotReady`, `VolumeInUse`, `AttachmentNotFound`, `AttachmentInUse` where it is a server's and
 *   no service asks, `InvalidRequest`
 */
export async function changeAttachment(
  cache: ImageVolumeCache,
  volumeId: string,
  input: AttachmentChange & OfProject & Caller,
): Promise<ChangeAttachmentResult> {
  const id = checkUuid('volumeId', volumeId) as VolumeId;
  const request = {
    type: workflowTypes.changeAttachment,
    workflowId: cache.queues.ids.changeAttachment(id, randomUUID()),
    conflict: 'FAIL',
    input: { ...input, volumeId: id },
    summary: `${input.change} of volume ${id}`,
  } as const;
  const { result } = await runWorkflow<ChangeAttachmentResult, { wait?: true }>(cache, request, { options: {} });
  return result;
}
