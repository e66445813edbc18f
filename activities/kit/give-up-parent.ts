import { releaseLeases } from '../../db/creates';
import { countQuarantines } from '../../db/entries/entries';
import { quarantineEntry, retireFullEntry } from '../../db/entries/retirement';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { Admission, FreedEntry, LeasedEntry } from '../../workflows/contract/population';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from './runs';

/** A second broken parent of one key within this time is no accident of one file: it is reported, not replaced. */
const QUARANTINE_WINDOW_MS = 3_600_000;

export interface UnclonedParent {
  /** Those that have no clone of it yet. */
  volumeIds: readonly VolumeId[];
  entry: LeasedEntry;
  admission: Pick<Admission, 'backend' | 'cacheKey'>;
  /** Error that a clone of it has failed with. */
  error: unknown;
}

/** @returns whether the failure of a clone is its parent's, so that another parent may do. */
export function isParentTrouble(error: unknown): error is Failure {
  return error instanceof Failure && (error.type === 'CloneLimitReached' || error.type === 'ParentUnusable');
}

/**
 * Retires a parent that takes no more clones, or that is proven unusable, and gives the leases back of those that still
 * wanted one. Idempotent.
 * @returns the parent where it may be deleted now.
 * @throws the error itself where it is not the parent's; BackendUnavailable (retried); ParentUnusable (final).
 */
export async function giveUpParent(
  deps: ControlDependencies,
  backend: VolumeBackend,
  { volumeIds, entry, admission, error }: UnclonedParent,
): Promise<FreedEntry[]> {
  if (!isParentTrouble(error)) throw error;
  // Clones that are in no row count too: the parent takes no more, and the next generation is populated.
  if (error.type === 'CloneLimitReached')
    await retireFullEntry(deps.database, { entryId: entry.id, found: error.message });
  else await quarantineParent(deps, backend, { volumeIds, entry, admission });
  return await releaseLeases(deps.database, { volumeIds, runId: workflowExecution().runId });
}

/**
 * Quarantine needs proof: the parent is described again, and an error of a sound parent is the backend's, to be
 * retried.
 */
async function quarantineParent(
  deps: ControlDependencies,
  backend: VolumeBackend,
  { volumeIds, admission, entry }: Omit<UnclonedParent, 'error'>,
): Promise<void> {
  const parent = await backend.describeParent(entry.imageVolume);
  if (parent.kind === 'sealed')
    throw new Failure('BackendUnavailable', {
      backend: backend.name,
      cause: `a clone of the sound parent ${entry.imageVolume} failed`,
    });
  const found = parent.kind === 'changed' ? parent.found : parent.kind;
  const others = await countQuarantines(deps.database, {
    backend: admission.backend,
    shortKey: admission.cacheKey.short,
    withinMs: QUARANTINE_WINDOW_MS,
    exceptEntryId: entry.id,
  });
  if (others > 0) throw new Failure('ParentUnusable', { backend: backend.name, parent: entry.imageVolume, found });
  const { kind } = await quarantineEntry(deps.database, { entryId: entry.id, found });
  if (kind === 'quarantined') deps.metrics.quarantined({ backend: admission.backend });
  // A clone of the broken parent must not be in the way of the clone of the next.
  for (const volumeId of volumeIds) await backend.ensureVolumeAbsent(volumeId);
}
