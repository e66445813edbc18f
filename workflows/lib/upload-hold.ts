import { CancellationScope } from '@temporalio/workflow';
import type { UploadVolumeInput } from '../contract/upload';
import { inTask } from './activity-profiles';
import { findFailure, isCancelled } from './fail';

/** Runs an upload whose first step makes its volume `uploading`; however it ends, the volume is so no longer. */
export async function endingHold<Result>(input: UploadVolumeInput, work: () => Promise<Result>): Promise<Result> {
  const { by, requestId } = input;
  const end = async (failure?: { error: string; reason: string }): Promise<void> => {
    const step = { summary: 'the volume is no longer uploading' };
    await CancellationScope.nonCancellable(() => inTask(step, (a) => a.endUploadHold({ failure, by, requestId })));
  };
  try {
    const result = await work();
    await end();
    return result;
  } catch (error) {
    const { type = 'Cancelled', message = 'the upload was cancelled' } = findFailure(error) ?? {};
    // Code that is wrong waits for its fix, and so does the volume.
    if (isCancelled(error) || type !== 'Cancelled') await end({ error: type, reason: message });
    throw error;
  }
}
