import { recordVolumeEvent } from '../../db/events';
import type { UploadPlan, UploadTransfer } from '../../workflows/contract/upload';
import type { HostDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';

/** Once for each run. */
export async function recordUpload(
  { database }: HostDependencies,
  { volumeId, imageId, by, requestId }: UploadPlan,
  { transfer }: UploadTransfer,
): Promise<void> {
  const note = {
    kind: 'volume.uploaded',
    detail: { imageId, transfer },
    by,
    requestId,
    ...workflowExecution(),
  } as const;
  await recordVolumeEvent(database, { volumeId, ...note });
}
