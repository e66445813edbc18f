import { setTimeout as delay } from 'node:timers/promises';
import { cancellationSignal } from '@temporalio/activity';
import {
  noteImageState,
  retireUnusableEntries,
  type ImageUseState,
  type UnusableEntries,
} from '../../db/entries/entry-images';
import { Failure } from '../../workflows/contract/failures';
import type { ImageId } from '../../workflows/contract/ids';
import type { ImageStatus } from '../../workflows/contract/image';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';

/** Most requests of a refresh to the image service, of whatever kind. */
export const REQUESTS_A_SECOND = 20;

/**
 * @returns what waits until the next request may go: so many a second on average, each interval half to one and a half
 *   times as long, so that several who ask do not fall into step.
 */
export function createPace({
  requestsPerSecond,
  signal,
}: {
  requestsPerSecond: number;
  signal: AbortSignal;
}): () => Promise<void> {
  const intervalMs = 1000 / requestsPerSecond;
  let nextAtMs = performance.now();
  return async () => {
    const waitMs = nextAtMs - performance.now();
    if (waitMs > 0) await delay(waitMs, undefined, { signal });
    nextAtMs = Math.max(nextAtMs, performance.now()) + intervalMs * (0.5 + Math.random());
  };
}

/**
 * @returns what the service says of an image. `missing`: it does not know it, or does not show it; `unanswered`: it
 *   says neither, as when it forbids.
 */
export async function readImageState(
  { images }: ControlDependencies,
  imageId: ImageId,
): Promise<ImageUseState | 'unanswered' | 'missing'> {
  try {
    return useOf((await images.getImage(imageId, cancellationSignal())).status);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.type === 'ImageNotFound' && !isForbidden(error) ? 'missing' : 'unanswered';
  }
}

function isForbidden({ details }: Failure): boolean {
  return 'forbidden' in details && details.forbidden === true;
}

/** An image whose bytes were read cannot become queued again: a service that says so is not believed. */
function useOf(status: ImageStatus): ImageUseState | 'unanswered' {
  switch (status) {
    case 'active':
      return 'usable';
    case 'deactivated':
      return 'deactivated';
    case 'deleted':
    case 'pending_delete':
    case 'killed':
      return 'gone';
    case 'queued':
    case 'saving':
    case 'uploading':
    case 'importing':
      return 'unanswered';
  }
}

/** Results for some images, and for the entries behind them. */
export interface RefreshedImages extends UnusableEntries {
  counts: Record<ImageUseState | 'unanswered', number>;
}

export function noneRefreshed(): RefreshedImages {
  const counts = { usable: 0, deactivated: 0, gone: 0, unanswered: 0 };
  return { counts, retired: [], kept: [], free: [] };
}

/**
 * Writes down what an image is, retires what has lost its last usable one, and adds both to `refreshed`. Idempotent but
 * for that.
 */
export async function applyImageState(
  { database, metrics }: ControlDependencies,
  refreshed: RefreshedImages,
  { imageId, state }: { imageId: ImageId; state: ImageUseState | 'unanswered' },
): Promise<void> {
  if (state !== 'unanswered') {
    await noteImageState(database, { imageId, state });
    const { workflowId } = workflowExecution();
    const unusable = await retireUnusableEntries(database, { imageId, workflowId });
    refreshed.retired.push(...unusable.retired);
    refreshed.kept.push(...unusable.kept);
    refreshed.free.push(...unusable.free);
  }
  refreshed.counts[state] += 1;
  metrics.refreshed({ result: state });
}
