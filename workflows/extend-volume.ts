/**
 * `ExtendVolume`: a volume grows, never shrinks. Its row promises the new size first, so that the backend is never overcommitted; then the backend
 * grows it, whether or not it is open; the servers that have it attached are told. A failure gives the promise back.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { ExtendVolumeInput, ExtendVolumeResult } from './contract/volume-changes';
import { inTask, onBackend } from './lib/activity-profiles';
import { describeExtended, describeExtending } from './lib/change-details';
import { expectFailure, failCancelled, failWith, isCancelled, typed } from './lib/fail';
import { tellServers } from './lib/tell-servers';
import { UndoStack } from './lib/undo-stack';

export async function ExtendVolume(input: ExtendVolumeInput): Promise<ExtendVolumeResult> {
  const begun = await typed(() => inTask({ summary: 'check the size, promise it' }, (a) => a.beginExtend(input)));
  // Only a checked input is known to be an object.
  const { by, requestId } = input;
  const { volumeId, backend, sizeBytes, formerSizeBytes } = begun;
  const undo = new UndoStack();
  const step = { volumeId, sizeBytes, formerSizeBytes, by, requestId };
  undo.before('the promised size', () =>
    onBackend(backend, { summary: 'undo: the row has the size that the volume has' }).revertExtend(step),
  );
  setCurrentDetails(describeExtending(begun));
  try {
    const { openedBy, isAttached } = await onBackend(backend, { summary: 'grow the volume' }).growVolume(step);
    undo.forget();
    // An older version has not said it.
    if (isAttached) await tellServers({ volumeId, event: 'volume-extended', status: 'completed', by, requestId });
    const result = { volumeId, sizeBytes, formerSizeBytes, openedBy };
    setCurrentDetails(describeExtended(result));
    return result;
  } catch (error) {
    await undo.run();
    if (isCancelled(error)) return failCancelled(error);
    return failWith(expectFailure(error), error);
  }
}
