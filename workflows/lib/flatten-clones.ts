import { log } from '@temporalio/workflow';
import type { EvictionResult } from '../contract/eviction';
import type { BackendName, EntryId, VolumeId } from '../contract/ids';
import { control, evicting } from './activity-profiles';
import { findBackendFailure, isCancelled } from './fail';
import { deleteFreedEntry } from './delete-freed-entries';
import { plural } from '../contract/words';

interface FlattenOptions {
  /** Asked between two clones. */
  isStopped: () => boolean;
  onProgress: () => void;
}

/** The outcome of flattening one request's clones. */
interface Tally {
  flattened: VolumeId[];
  evicted: NonNullable<EvictionResult['evicted']>;
  held: NonNullable<EvictionResult['held']>;
  /** Retired entries that nothing holds, and whose deletion failed. */
  undeleted: number;
  /** Why clones stay as they are, one sentence each. */
  stay: string[];
}

/** Why a request's clones stay is told of the first few. */
const REASONS_TOLD = 3;
/** Limit of a list with its retries, in milliseconds. */
const LIST_BUDGET_MS = 10 * 60_000;

/**
 * Makes the live clones of the entries that an eviction has retired independent of them, one after the other; the entry
 * whose last clone this was is deleted. A clone that cannot be flattened now stays, and its retired parent with it
 * until it is deleted.
 * @returns the eviction's answer with what came of it; undefined when it was stopped: begin again later.
 */
export async function flattenClones(
  backend: BackendName,
  result: EvictionResult,
  options: FlattenOptions,
): Promise<EvictionResult | undefined> {
  const tally: Tally = { flattened: [], evicted: [], held: [], undeleted: 0, stay: [] };
  for (const { entryId } of result.held ?? []) {
    const left = await flattenClonesOf(entryId, { backend, tally, ...options });
    if (left === undefined) return undefined;
    if (left > 0) tally.held.push({ entryId, clones: left });
  }
  const { flattened, held, undeleted, stay } = tally;
  const failed = undeleted > 0 || (flattened.length === 0 && stay.length > 0);
  const evicted = [...(result.evicted ?? []), ...tally.evicted];
  return {
    ...result,
    at: new Date().toISOString(),
    outcome: failed ? 'failed' : 'done',
    summary: summaryOf(tally),
    evicted,
    held,
    flattened,
  };
}

interface EntryFlattening extends FlattenOptions {
  backend: BackendName;
  tally: Tally;
}

/** @returns the clones that still hold the entry; undefined when it was stopped. */
async function flattenClonesOf(
  entryId: EntryId,
  { backend, tally, isStopped, onProgress }: EntryFlattening,
): Promise<number | undefined> {
  let left = 0;
  for (let afterVolumeId: VolumeId | undefined; ;) {
    const volumeIds = await listClones(entryId, afterVolumeId);
    for (const volumeId of volumeIds) {
      if (isStopped()) return undefined;
      if (!(await flatten({ backend, entryId, volumeId, tally }))) left += 1;
      onProgress();
    }
    afterVolumeId = volumeIds.at(-1);
    if (afterVolumeId === undefined) return left;
  }
}

async function listClones(entryId: EntryId, afterVolumeId?: VolumeId): Promise<VolumeId[]> {
  const step = { summary: 'list the live clones of the retired entry', budgetMs: LIST_BUDGET_MS };
  return await control(step).listClones({ entryId, afterVolumeId });
}

interface OneFlattening {
  backend: BackendName;
  entryId: EntryId;
  volumeId: VolumeId;
  tally: Tally;
}

/** @returns whether the volume does not hold the entry any more. */
async function flatten({ backend, entryId, volumeId, tally }: OneFlattening): Promise<boolean> {
  try {
    const step = { summary: `flatten volume ${volumeId}` };
    const { flattened, freedEntry, reclaimedBytes } = await evicting(backend, step).flattenVolume({ volumeId });
    if (flattened) tally.flattened.push(volumeId);
    if (freedEntry === undefined) return true;
    if (await deleteFreedEntry({ freedEntry })) tally.evicted.push({ entryId, class: 'requested', reclaimedBytes });
    else tally.undeleted += 1;
    return true;
  } catch (error) {
    const failure = findBackendFailure(backend, error);
    if (isCancelled(error) || failure === undefined) throw error;
    log.warn('a clone was not flattened', { volumeId, failureType: failure.type });
    tally.stay.push(failure.message);
    return false;
  }
}

function summaryOf({ flattened, evicted, held, undeleted, stay }: Tally): string {
  const parts = [
    `${plural(flattened.length, 'clone was', 'clones were')} flattened`,
    `${plural(evicted.length, 'retired entry was', 'retired entries were')} deleted`,
    ...(held.length === 0
      ? []
      : [`${plural(held.length, 'entry stays', 'entries stay')} retired until the last clone is deleted`]),
    ...(undeleted === 0 ? [] : ['the next sweep deletes the rest']),
    ...stay.slice(0, REASONS_TOLD),
  ];
  return parts.join('; ');
}
