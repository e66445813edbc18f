import { findVolume } from '../../db/volumes';
import { endDeadCreate, listVolumesById } from '../../db/reconcile/reconcile-volumes';
import type { VolumeRow } from '../../db/types';
import type { VolumeState } from '../../workflows/contract/volume';
import { workflowTypes } from '../../workflows/contract/names';
import { deleteEntry } from '../kit/delete-entry';
import { findEndingOfCreate, isRunning } from '../kit/runs';
import { keptAsNewer } from './leftovers';
import { report, settle, type Repaired } from './repair';
import type { ReconcileRun } from './run';

const PAGE_ROWS = 200;

/** `creating` rows whose run is closed or unknown end as that run's own failure would have ended them. */
export async function repairCreating(run: ReconcileRun): Promise<void> {
  const { deps } = run;
  for await (const volume of volumesIn(run, 'creating')) {
    const { ending, closedAt } = await findEndingOfCreate(deps, volume);
    if (ending === 'running' || !(await isUnchanged(run, volume))) continue;
    const described = await run.backend.describeVolume(volume.id);
    // Somebody may have got it, and the row be older than that: the look at objects decides.
    if (ending !== 'failed' && described.kind === 'present') continue;
    const { id, sizeBytes, workflowId, runId, updatedAt } = volume;
    const found = `volume ${id} is creating, and run ${runId} of ${workflowId} does not run`;
    const finding = { kind: 'stuck-creating', object: id, found, bytes: sizeBytes } as const;
    if (described.kind === 'present' && closedAt !== undefined && described.modifiedAt > closedAt) {
      report(run, { ...finding, found: `${found}; ${keptAsNewer(described.modifiedAt, closedAt)}` });
      continue;
    }
    await settle(run, {
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
    message: `the run that created volume ${volume.id} ended without finishing it; ask again`,
  });
  if (ended === undefined) return 'unfounded';
  deps.metrics.createEnded({ backend: backend.name, outcome: 'failed' });
  if (ended.freedEntry) await deleteEntry(deps, backend, { entryId: ended.freedEntry.entryId, workflowId });
  return 'repaired';
}

/** `deleting` rows that no run deletes get one; it refuses what somebody has open. */
export async function repairDeleting(run: ReconcileRun): Promise<void> {
  const { deps } = run;
  for await (const volume of volumesIn(run, 'deleting')) {
    const workflowId = deps.queues.ids.deleteVolume(volume.id);
    if (await isRunning(deps, { workflowId })) continue;
    if (!(await isUnchanged(run, volume))) continue;
    const { id, sizeBytes, updatedAt } = volume;
    const found = `volume ${id} is deleting, and ${workflowId} does not run`;
    await settle(run, {
      finding: { kind: 'stuck-deleting', object: id, found, bytes: sizeBytes },
      since: updatedAt,
      repair: async () => {
        await deps.temporal.workflow.start(workflowTypes.deleteVolume, {
          workflowId,
          taskQueue: deps.queues.control,
          args: [{ volumeId: id }],
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          workflowIdConflictPolicy: 'USE_EXISTING',
          staticSummary: `delete volume ${id}, as was begun before`,
        });
        return 'repaired';
      },
    });
  }
}

/** A run that has ended since the row was read has changed the row. */
async function isUnchanged({ deps }: ReconcileRun, { id, state, runId }: VolumeRow): Promise<boolean> {
  const row = await findVolume(deps.database, { volumeId: id });
  return row?.state === state && row.runId === runId;
}

/** A backend's rows in a state, a page at a time. */
export async function* volumesIn(
  { deps, backend, collector }: ReconcileRun,
  state: VolumeState,
): AsyncIterable<VolumeRow> {
  let afterId: VolumeRow['id'] | undefined;
  for (;;) {
    const page = await listVolumesById(deps.database, { backend: backend.name, state, afterId, limit: PAGE_ROWS });
    collector.looked(page.length);
    for (const volume of page) {
      collector.at(`looking at ${state} volumes`);
      yield volume;
    }
    afterId = page.at(-1)?.id;
    if (page.length < PAGE_ROWS) return;
  }
}
