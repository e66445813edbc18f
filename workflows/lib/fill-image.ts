import type { UploadedImage, UploadPlan, UploadTransfer } from '../contract/upload';
import { control, onBackend, readingOn } from './activity-profiles';
import { withHost } from './host-affinity';
import type { UndoStack } from './undo-stack';

/** Registers what removes an image without its bytes, and the clone that was to be them. */
export function undoImage(plan: UploadPlan, undo: UndoStack): void {
  // Registered first, so that it is done last: when the image is gone.
  if (plan.byPointer === true)
    undo.before('the pointer', () =>
      onBackend(plan.backend, { summary: 'undo: remove the pointer unless its image is there' }).removeUnusedPointer(
        plan,
      ),
    );
  undo.before('the image', () =>
    control({ summary: 'undo: remove the image unless it has its bytes' }).removeUnfilledImage(plan),
  );
}

/** Gives a queued image the snapshot's bytes: by a clone in the image service's store where that is possible, else by sending them. */
export async function fillImage(plan: UploadPlan): Promise<UploadedImage & UploadTransfer> {
  const { imageId, byPointer = false } = plan;
  return await withHost(plan.backend, {}, async ({ hostId }) => {
    const step = { summary: `hash and clone image ${imageId} on host ${hostId}` };
    const pointed = byPointer ? await readingOn(hostId, step).pointImage(plan) : undefined;
    if (pointed?.kind === 'pointed') return { ...pointed.image, transfer: 'pointer' as const };
    const sent = await readingOn(hostId, { summary: `fill image ${imageId} on host ${hostId}` }).uploadImage(plan);
    return { ...sent, transfer: 'sent' as const, ...(pointed && { transferReason: pointed.reason }) };
  });
}

/** For a summary, after what the image has. */
export function describeTransfer({ transfer, transferReason }: Partial<UploadTransfer>): string {
  if (transfer === 'pointer') return ', cloned into the image service’s store: no byte was sent';
  return transferReason === undefined ? '' : `, sent and not cloned: ${transferReason}`;
}
