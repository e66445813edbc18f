import type { Client } from '@temporalio/client';
import type { ImageVolumeCache } from './connection';
import { ImageVolumeCacheError, toImageVolumeCacheError } from './errors';
import { followingSignal } from '../lib/abort';

/** Runs `wait` until `signal` is aborted, which ends the requests of this client and nothing else. */
export async function interruptible<T>(
  client: Client,
  { workflowId, signal }: { workflowId: string; signal?: AbortSignal },
  wait: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return await wait();
  try {
    return await client.withAbortSignal(followingSignal(signal), wait);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new ImageVolumeCacheError({
      type: 'WaitInterrupted',
      message: `no longer waiting for ${workflowId}, which goes on`,
      workflowId,
      cause: error,
    });
  }
}

/** Runs `work` with the Temporal client. @throws ImageVolumeCacheError, whatever was thrown. */
export async function reportingErrors<T>(
  cache: ImageVolumeCache,
  workflowId: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  try {
    return await work(await cache.temporal());
  } catch (error) {
    throw toImageVolumeCacheError(error, { temporal: cache.settings.address ?? '', workflowId });
  }
}
