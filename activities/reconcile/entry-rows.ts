import { listEntries } from '../../db/entries/entries';
import { listDeleting } from '../../db/evictions/evictor';
import { findFlight } from '../../db/flights';
import {
  beginAbandonment,
  correctCloneCount,
  listFreeEntries,
  listMiscounted,
} from '../../db/reconcile/reconcile-rows';
import type { EntryRow } from '../../db/types';
import type { EntryId } from '../../workflows/contract/ids';
import { deleteEntry } from '../kit/delete-entry';
import { isRunning } from '../kit/runs';
import { settle, type Repaired } from './repair';
import type { ReconcileRun } from './run';

/** Entries of one kind that one run looks at; the next run looks at the others. */
const ROWS = 1000;

/** `populating` entries whose population does not run: what was written is removed, the reservation given up. */
export async function repairPopulating(run: ReconcileRun): Promise<void> {
  const { deps, backend, collector } = run;
  const entries = await listEntries(deps.database, { backend: backend.name, state: 'populating', limit: ROWS });
  collector.looked(entries.length);
  for (const entry of entries) {
    const flightId = entry.reservedFor ?? deps.queues.ids.populate(backend.name, entry.shortKey);
    // Read before its run is looked for: a run that begins after that changes it.
    const claimedBy = (await findFlight(deps.database, { backend: backend.name, shortKey: entry.shortKey }))?.runId;
    if (await isRunning(deps, { workflowId: flightId })) continue;
    const found = `image-volume ${entry.imageVolume} is populating, and ${flightId} does not run`;
    await settle(run, {
      finding: { kind: 'stuck-populating', object: entry.imageVolume, found, bytes: entry.realBytes },
      since: entry.createdAt,
      repair: async () => await abandon(run, entry, claimedBy ?? null),
    });
  }
}

async function abandon(run: ReconcileRun, entry: EntryRow, runId: string | null): Promise<Repaired> {
  const { deps, workflowId } = run;
  if (!(await beginAbandonment(deps.database, { entry, runId, workflowId }))) return 'unfounded';
  return await finishDeletion(run, entry.id);
}

async function finishDeletion({ deps, backend, workflowId }: ReconcileRun, entryId: EntryId): Promise<Repaired> {
  const deletion = await deleteEntry(deps, backend, { entryId, workflowId });
  if (deletion.kind === 'kept') return { kept: deletion.refusal.message };
  return deletion.kind === 'gone' ? 'repaired' : 'unfounded';
}

export async function repairCloneCounts(run: ReconcileRun): Promise<void> {
  const { deps, backend, workflowId } = run;
  for (const { entryId, imageVolume, clones, holders } of await listMiscounted(deps.database, backend.name)) {
    const found = `image-volume ${imageVolume} counts ${clones} clones, ${holders} volumes hold it`;
    await settle(run, {
      finding: { kind: 'clone-count-wrong', object: imageVolume, found, bytes: null },
      repair: async () =>
        (await correctCloneCount(deps.database, { entryId, workflowId })) ? 'repaired' : 'unfounded',
    });
  }
}

/** What is `deleting` for nobody who runs, and what is `retired` and free since longer than anybody takes to delete it. */
export async function repairEntryDeletions(run: ReconcileRun): Promise<void> {
  const { deps, backend, collector } = run;
  const listed = { backend: backend.name, limit: ROWS };
  const [deleting, free] = [await listDeleting(deps.database, listed), await listFreeEntries(deps.database, listed)];
  collector.looked(deleting.length + free.length);
  for (const entry of [...deleting, ...free]) {
    const { id, imageVolume, state, reservedFor, retiredAt, createdAt, realBytes } = entry;
    if (state === 'deleting' && reservedFor !== null && (await isRunning(deps, { workflowId: reservedFor }))) continue;
    const found = `image-volume ${imageVolume} is ${state === 'deleting' ? state : 'retired and free'}, and nobody deletes it`;
    await settle(run, {
      finding: { kind: 'stuck-entry-deletion', object: imageVolume, found, bytes: realBytes },
      since: retiredAt ?? createdAt,
      repair: async () => await finishDeletion(run, id),
    });
  }
}
