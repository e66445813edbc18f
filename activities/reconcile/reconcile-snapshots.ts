import type { SnapshotRow } from '../../db/schema';
import { findSnapshot, listSnapshotsById, markSnapshotFailed, removeGivenUpSnapshot } from '../../db/snapshots';
import type { SnapshotId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { SnapshotState } from '../../workflows/contract/snapshot';
import type { BackendObject, SnapshotMarker } from '../backends/backend';
import { deleteEntry } from '../kit/delete-entry';
import { findEndingOfCreate, findLiveRun, isRunning } from '../kit/runs';
import type { ObjectRows, Scan } from './classify-object';
import type { Repaired, ReconcileRun } from './reconcile-run';

const ROWS_AT_ONCE = 200;

/**
 * A snapshot without a row is reported, as volumes are, and never deleted: somebody may count on it. Unless it names the run that it was taken for, and
 * that has closed.
 */
export async function compareSnapshot(
  { run, scan, rows }: { run: ReconcileRun; scan: Scan; rows: ObjectRows },
  object: BackendObject,
  marker: SnapshotMarker,
): Promise<void> {
  const { name, realBytes } = object;
  scan.own += 1;
  const row = rows.snapshots.get(name as SnapshotId);
  scan.snapshots.add(name as SnapshotId);
  if (row !== undefined && row.state !== 'deleted') return;
  if (row === undefined && marker.run !== undefined) return await removeUnlessRunning(run, object, marker);
  const which = row === undefined ? 'has no row' : 'is there, and its row is deleted';
  const found = `snapshot ${name} of volume ${marker.volumeId}, project ${marker.projectId}, ${which}`;
  run.findings.report({ kind: 'snapshot-without-row', object: name, found, bytes: realBytes });
}

async function removeUnlessRunning(
  run: ReconcileRun,
  { name, realBytes, modifiedAt }: BackendObject,
  { snapshotId, volumeId, run: takenBy }: SnapshotMarker,
): Promise<void> {
  const { deps, backend } = run;
  if (takenBy === undefined || (await findLiveRun(deps, takenBy)) !== undefined) return;
  const found = `snapshot ${name} of volume ${volumeId} was taken by ${takenBy.workflowId}, which has ended without removing it`;
  await run.findings.repair({
    finding: { kind: 'snapshot-of-ended-run', object: name, found, bytes: realBytes },
    writtenAt: modifiedAt,
    repair: async () => {
      await backend.ensureSnapshotAbsent({ snapshotId, volumeId });
      return 'repaired';
    },
  });
}

/** Rows `available` whose snapshot was not seen, and is not there when it is asked for. */
export async function checkSnapshots(run: ReconcileRun, scan: Scan): Promise<void> {
  for await (const row of snapshotsIn(run, 'available')) {
    const { id: snapshotId, volumeId, sizeBytes } = row;
    if (scan.snapshots.has(snapshotId)) continue;
    const described = await run.backend.describeSnapshot({ snapshotId, volumeId });
    if (described.kind === 'present' || !(await isUnchanged(run, row))) continue;
    const found = `snapshot ${snapshotId} of volume ${volumeId} is available, and not on the backend`;
    run.findings.report({ kind: 'snapshot-missing', object: snapshotId, found, bytes: sizeBytes });
  }
}

/** Rows whose run is dead end as that run would have ended them. */
export async function repairSnapshots(run: ReconcileRun): Promise<void> {
  for await (const row of snapshotsIn(run, 'creating')) {
    const { id, sizeBytes, workflowId, runId, updatedAt } = row;
    const { ending } = await findEndingOfCreate(run.deps, row);
    if (ending === 'running' || !(await isUnchanged(run, row))) continue;
    const found = `snapshot ${id} is creating, and run ${runId} of ${workflowId} does not run`;
    await run.findings.repair({
      finding: { kind: 'stuck-snapshot', object: id, found, bytes: sizeBytes },
      since: updatedAt,
      repair: async () => await endCreate(run, row),
    });
  }
  for await (const row of snapshotsIn(run, 'deleting')) await restartDelete(run, row);
}

/** Nobody has got it: its leftovers are removed. */
async function endCreate({ deps, backend, workflowId }: ReconcileRun, row: SnapshotRow): Promise<Repaired> {
  const { id: snapshotId, volumeId, runId } = row;
  const remove = async (): Promise<void> => await backend.ensureSnapshotAbsent({ snapshotId, volumeId });
  await removeGivenUpSnapshot(deps.database, { snapshotId, runId, remove });
  const message = `the run that took snapshot ${snapshotId} ended without finishing it; send the request again`;
  const error = { type: 'CreateCancelled', message };
  const { freedEntry } = await markSnapshotFailed(deps.database, { snapshotId, error, source: { workflowId, runId } });
  if (freedEntry) await deleteEntry(deps, backend, { entryId: freedEntry.entryId, workflowId });
  return 'repaired';
}

async function restartDelete(run: ReconcileRun, row: SnapshotRow): Promise<void> {
  const { deps } = run;
  const { id: snapshotId, projectId, sizeBytes, updatedAt } = row;
  const workflowId = deps.queues.ids.deleteSnapshot(snapshotId);
  const volumeDelete = deps.queues.ids.deleteVolume(row.volumeId);
  for (const other of [workflowId, deps.queues.ids.deleteSnapshot(snapshotId, projectId), volumeDelete])
    if (await isRunning(deps, { workflowId: other })) return;
  if (!(await isUnchanged(run, row))) return;
  await run.findings.repair({
    finding: {
      kind: 'stuck-snapshot',
      object: snapshotId,
      found: `snapshot ${snapshotId} is deleting, and ${workflowId} does not run`,
      bytes: sizeBytes,
    },
    since: updatedAt,
    repair: async () => {
      await deps.temporal.workflow.start(workflowTypes.deleteSnapshot, {
        workflowId,
        taskQueue: deps.queues.control,
        args: [{ snapshotId }],
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        workflowIdConflictPolicy: 'USE_EXISTING',
        staticSummary: `delete snapshot ${snapshotId}, which was begun before`,
      });
      return 'repaired';
    },
  });
}

async function isUnchanged({ deps }: ReconcileRun, { id, state, runId }: SnapshotRow): Promise<boolean> {
  const row = await findSnapshot(deps.database, { snapshotId: id, scope: 'all projects' });
  return row?.state === state && row.runId === runId;
}

async function* snapshotsIn(
  { deps, backend, findings }: ReconcileRun,
  state: SnapshotState,
): AsyncIterable<SnapshotRow> {
  for (let afterId: SnapshotId | undefined; ;) {
    const rows = await listSnapshotsById(deps.database, { backend: backend.name, state, afterId, limit: ROWS_AT_ONCE });
    findings.compared(rows.length);
    yield* rows;
    afterId = rows.at(-1)?.id;
    if (rows.length < ROWS_AT_ONCE) return;
  }
}
