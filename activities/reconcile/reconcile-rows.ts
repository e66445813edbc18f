import { listEntries } from '../../db/entries/entries';
import { listDeleting } from '../../db/evictions/evictor';
import { findFlight } from '../../db/flights';
import {
  beginAbandonment,
  correctCloneCount,
  listFreeEntries,
  listMiscounted,
} from '../../db/reconcile/reconcile-entries';
import { endDeadCreate } from '../../db/reconcile/reconcile-volumes';
import { deleteExpired } from '../../db/retention';
import type { EntryRow, VolumeRow } from '../../db/schema';
import { findVolume } from '../../db/volumes';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { BackendDependencies } from '../dependencies';
import { deleteEntry } from '../kit/delete-entry';
import { findEndingOfCreate, isRunning } from '../kit/runs';
import { beginRun, volumesIn, type Repaired, type ReconcileRequest, type ReconcileRun } from './reconcile-run';
import { repairPointers } from './reconcile-pointers';
import { repairReimages } from './reconcile-reimages';
import { repairUnfilledImages, repairUploads } from './reconcile-uploads';
import { repairSnapshots } from './reconcile-snapshots';
import { keptAsNewer } from './remove-leftovers';

/** Entries of one kind that one run checks; the next run checks the others. */
const ROWS = 1000;
/** Rows of one table that one run deletes: minutes of work at most. */
const ROWS_FORGOTTEN = 200_000;

/**
 * Finds rows that wait for a run which is dead, and ends them as that run would have. On the backend's queue:
 * objects that a dead run has made are removed there. Heartbeats; repeated, killed or late it goes on from what the
 * inventory says.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createReconcileRows(deps: BackendDependencies, name: BackendName) {
  return async function reconcileRows({ dryRun }: ReconcileRequest): Promise<ReconcileStep> {
    const run = await beginRun(deps, name, dryRun);
    run.findings.at('checking rows');
    await repairCreating(run);
    await repairDeleting(run);
    await repairSnapshots(run);
    await repairPointers(run);
    await repairReimages(run);
    await repairUploads(run);
    await repairUnfilledImages(run);
    await repairPopulating(run);
    await repairCloneCounts(run);
    await repairEntryDeletions(run);
    if (!dryRun) await forgetExpired(run);
    return run.findings.step();
  };
}

/** Events, decisions and rows of deleted volumes, of all backends: whichever is reconciled first deletes them. */
async function forgetExpired({ deps, findings }: ReconcileRun): Promise<void> {
  await deleteExpired(deps.database, {
    kept: deps.config.retention,
    mostRows: ROWS_FORGOTTEN,
    onBatch: () => findings.at('deleting events and rows that are kept no longer'),
  });
}

/** `creating` rows whose run is closed or unknown end as that run's own failure would have ended them. */
async function repairCreating(run: ReconcileRun): Promise<void> {
  const { deps } = run;
  for await (const volume of volumesIn(run, 'creating')) {
    const { ending, closedAt } = await findEndingOfCreate(deps, volume);
    if (ending === 'running' || !(await isUnchanged(run, volume))) continue;
    const described = await run.backend.describeVolume(volume.id);
    // Somebody may have got it, and the row be older than that: `reconcileObjects` decides.
    if (ending !== 'failed' && described.kind === 'present') continue;
    const { id, sizeBytes, workflowId, runId, updatedAt } = volume;
    const found = `volume ${id} is creating, and run ${runId} of ${workflowId} does not run`;
    const finding = { kind: 'stuck-creating', object: id, found, bytes: sizeBytes } as const;
    if (described.kind === 'present' && closedAt !== undefined && described.modifiedAt > closedAt) {
      run.findings.report({ ...finding, found: `${found}; ${keptAsNewer(described.modifiedAt, closedAt)}` });
      continue;
    }
    await run.findings.repair({
      finding,
      since: updatedAt,
      repair: async () => await endCreate(run, volume),
    });
  }
}

async function endCreate(run: ReconcileRun, volume: VolumeRow): Promise<Repaired> {
  const { deps, backend, workflowId } = run;
  const ended = await endDeadCreate(deps.database, {
    volume,
    remove: async () => await backend.ensureVolumeAbsent(volume.id),
    message: `the run that created volume ${volume.id} ended without finishing it; send the request again`,
  });
  if (ended === undefined) return 'unfounded';
  deps.metrics.createEnded({ backend: backend.name, outcome: 'failed' });
  if (ended.freedEntry) await deleteEntry(deps, backend, { entryId: ended.freedEntry.entryId, workflowId });
  return 'repaired';
}

/** `deleting` rows that no run deletes get one; it refuses what somebody has open. */
async function repairDeleting(run: ReconcileRun): Promise<void> {
  const { deps } = run;
  for await (const volume of volumesIn(run, 'deleting')) {
    const workflowId = deps.queues.ids.deleteVolume(volume.id);
    if (await isRunning(deps, { workflowId })) continue;
    if (await isRunning(deps, { workflowId: deps.queues.ids.deleteVolume(volume.id, volume.projectId) })) continue;
    if (!(await isUnchanged(run, volume))) continue;
    const { id, sizeBytes, updatedAt } = volume;
    const found = `volume ${id} is deleting, and ${workflowId} does not run`;
    await run.findings.repair({
      finding: { kind: 'stuck-deleting', object: id, found, bytes: sizeBytes },
      since: updatedAt,
      repair: async () => {
        await deps.temporal.workflow.start(workflowTypes.deleteVolume, {
          workflowId,
          taskQueue: deps.queues.control,
          args: [{ volumeId: id }],
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          workflowIdConflictPolicy: 'USE_EXISTING',
          staticSummary: `delete volume ${id}, which was begun before`,
        });
        return 'repaired';
      },
    });
  }
}

/** A run that has ended since the row was read has changed the row. */
async function isUnchanged({ deps }: ReconcileRun, { id, state, runId }: VolumeRow): Promise<boolean> {
  const row = await findVolume(deps.database, { volumeId: id, scope: 'all projects' });
  return row?.state === state && row.runId === runId;
}

/** `populating` entries whose population does not run: the bytes written are removed, the reservation given up. */
async function repairPopulating(run: ReconcileRun): Promise<void> {
  const { deps, backend, findings } = run;
  const entries = await listEntries(deps.database, { backend: backend.name, state: 'populating', limit: ROWS });
  findings.compared(entries.length);
  for (const entry of entries) {
    const flightId = entry.reservedFor ?? deps.queues.ids.populate(backend.name, entry.shortKey);
    // Read before its run is searched for: a run that begins after that changes it.
    const claimedBy = (await findFlight(deps.database, { backend: backend.name, shortKey: entry.shortKey }))?.runId;
    if (await isRunning(deps, { workflowId: flightId })) continue;
    const found = `image-volume ${entry.imageVolume} is populating, and ${flightId} does not run`;
    await run.findings.repair({
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

async function repairCloneCounts(run: ReconcileRun): Promise<void> {
  const { deps, backend, workflowId } = run;
  for (const { entryId, imageVolume, clones, holders } of await listMiscounted(deps.database, backend.name)) {
    const found = `image-volume ${imageVolume} counts ${clones} clones, ${holders} volumes and snapshots hold it`;
    await run.findings.repair({
      finding: { kind: 'clone-count-wrong', object: imageVolume, found, bytes: null },
      repair: async () =>
        (await correctCloneCount(deps.database, { entryId, workflowId })) ? 'repaired' : 'unfounded',
    });
  }
}

/**
 * Entries that are `deleting` for no run that is alive, and those `retired` and free for longer than a deletion takes.
 */
async function repairEntryDeletions(run: ReconcileRun): Promise<void> {
  const { deps, backend, findings } = run;
  const listed = { backend: backend.name, limit: ROWS };
  const [deleting, free] = [await listDeleting(deps.database, listed), await listFreeEntries(deps.database, listed)];
  findings.compared(deleting.length + free.length);
  for (const entry of [...deleting, ...free]) {
    const { id, imageVolume, state, reservedFor, retiredAt, createdAt, realBytes } = entry;
    if (state === 'deleting' && reservedFor !== null && (await isRunning(deps, { workflowId: reservedFor }))) continue;
    const found = `image-volume ${imageVolume} is ${state === 'deleting' ? state : 'retired and free'}, and no run deletes it`;
    await run.findings.repair({
      finding: { kind: 'stuck-entry-deletion', object: imageVolume, found, bytes: realBytes },
      since: retiredAt ?? createdAt,
      repair: async () => await finishDeletion(run, id),
    });
  }
}
