import { listDeleting } from '../../db/evictions/evictor';
import type { EntryRow } from '../../db/types';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { isRunning } from '../kit/runs';
import { deleteEntry } from '../kit/delete-entry';

/** Deletions that one call finishes. */
const FINISHED_AT_ONCE = 500;

/**
 * Finishes what an earlier try, or whoever else is dead, has marked and not deleted. A population that runs deletes its own victims: their bytes are
 * its reservation's. Idempotent.
 * @returns what is gone by this call.
 */
export async function finishDeletions(
  deps: ControlDependencies,
  backend: VolumeBackend,
  { workflowId, onStep }: { workflowId: string; onStep: (summary: string) => void },
): Promise<EntryRow[]> {
  const running = new Map<string, boolean>([[workflowId, false]]);
  const isAtWork = async (id: string): Promise<boolean> => {
    const known = running.get(id) ?? (await isRunning(deps, { workflowId: id }));
    running.set(id, known);
    return known;
  };
  const gone: EntryRow[] = [];
  for (const entry of await listDeleting(deps.database, { backend: backend.name, limit: FINISHED_AT_ONCE })) {
    onStep(`finishing the deletion of image-volume ${entry.imageVolume}`);
    if (entry.reservedFor !== null && (await isAtWork(entry.reservedFor))) continue;
    const deletion = await deleteEntry(deps, backend, { entryId: entry.id, workflowId });
    if (deletion.kind === 'gone') gone.push(entry);
  }
  return gone;
}
