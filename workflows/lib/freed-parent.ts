import { CancellationScope, log } from '@temporalio/workflow';
import type { BackendName } from '../contract/ids';
import type { FreedEntry } from '../contract/population';
import { onBackend } from './activity-profiles';
import { findFailure } from './failure';

/**
 * Deletes a retired parent whose last clone or lease has just ended, cancelled or not. Where that fails for good the parent stays, retired, and the
 * run goes on: what it was asked for is done.
 * @param freedEntry undefined: there is nothing to delete.  @returns whether a parent was deleted.
 */
export async function deleteFreedParent(
  backend: BackendName,
  { freedEntry }: { freedEntry?: FreedEntry },
): Promise<boolean> {
  if (freedEntry === undefined) return false;
  const step = { summary: 'delete the retired parent that nothing needs' };
  try {
    await CancellationScope.nonCancellable(() => onBackend(backend, step).deleteParent(freedEntry));
    return true;
  } catch (error) {
    if (findFailure(error) === undefined) throw error;
    log.error('a retired parent stays', { ...freedEntry, error: String(error) });
    return false;
  }
}
