import type { SnapshotRow } from '../../db/schema';
import { scopeOf } from '../../db/scope';
import {
  completeSnapshot,
  findSnapshot,
  insertSnapshot,
  markSnapshotFailed,
  removeGivenUpSnapshot,
  removeSnapshotOrphan,
  takeOverSnapshot,
  type InsertSnapshotOutcome,
} from '../../db/snapshots';
import { findVolume } from '../../db/volumes';
import type { Caller } from '../../workflows/contract/event-kinds';
import { Failure, type FailureRecord } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { CreateSnapshotInput, CreateSnapshotResult, SnapshotPlan } from '../../workflows/contract/snapshot';
import type { SnapshotMarker, VolumeBackend } from '../backends/backend';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { findLiveRun, isDead, workflowExecution } from '../kit/runs';
import { parseCreateSnapshotRequest, requestedSnapshotId } from './snapshot-request';

export type AdmitSnapshotOutcome =
  { kind: 'admitted'; plan: SnapshotPlan } | { kind: 'available'; result: CreateSnapshotResult };

/**
 * Validates the request against the volume, then inserts the snapshot's row `creating`. Idempotent for one run. A refusal leaves no row. Undo:
 * `failSnapshot`.
 * @param purpose `copy`: the run itself deletes it, and no quota counts it.
 * @throws InvalidRequest, VolumeNotFound, SnapshotConflict, QuotaExceeded (final); StillRunning, DatabaseUnavailable (retried).
 */
export function createAdmitSnapshot(deps: ControlDependencies) {
  return async function admitSnapshot(input: unknown, purpose?: 'copy'): Promise<AdmitSnapshotOutcome> {
    const { workflowId, runId } = workflowExecution();
    const request = parseCreateSnapshotRequest(input);
    const snapshotId = requestedSnapshotId(workflowId, request, deps.queues.prefix);
    const { volumeId, projectId, name, description, metadata, by, requestId } = request;
    await checkOwner(deps, request);
    const row = {
      snapshotId,
      volumeId: volumeId as VolumeId,
      scope: scopeOf(projectId as ProjectId | undefined),
      name: name ?? null,
      description: description ?? null,
      metadata: metadata ?? {},
      by,
      requestId,
      forCopy: purpose === 'copy',
      workflowId,
      runId,
    };
    let inserted = await insertSnapshot(deps.database, row);
    if (inserted.kind === 'busy' && (await isDead(deps, inserted)))
      inserted = await insertSnapshot(deps.database, { ...row, deadRunId: inserted.runId });
    if (inserted.kind === 'admitted') return { kind: 'admitted', plan: resultOf(inserted.snapshot) };
    if (inserted.kind === 'available') return { kind: 'available', result: resultOf(inserted.snapshot) };
    throw refusalOf(inserted, { snapshotId, request });
  };
}

/** The project that is named, or that of the volume: it is to be in Keystone, and enabled. */
async function checkOwner(deps: ControlDependencies, { projectId, volumeId }: CreateSnapshotInput): Promise<void> {
  const owner =
    projectId ??
    (await findVolume(deps.database, { volumeId: volumeId as VolumeId, scope: 'all projects' }))?.projectId;
  if (owner !== undefined) await deps.checkProject(owner);
}

function refusalOf(
  refused: Exclude<InsertSnapshotOutcome, { kind: 'admitted' | 'available' }>,
  { snapshotId, request: { volumeId } }: { snapshotId: SnapshotId; request: CreateSnapshotInput },
): Failure {
  switch (refused.kind) {
    case 'volume-absent':
      return new Failure('VolumeNotFound', { volumeId });
    case 'volume-state': {
      const value = `${volumeId}, which is ${refused.state}`;
      return new Failure('InvalidRequest', { field: 'volumeId', value, allowed: 'a volume that is available' });
    }
    case 'over-quota': {
      const { kind: _, ...exceeded } = refused;
      return new Failure('QuotaExceeded', exceeded);
    }
    case 'conflict':
      return new Failure('SnapshotConflict', { snapshotId, found: 'one of another volume or name' });
    case 'deleted':
      return new Failure('SnapshotConflict', { snapshotId, found: 'it was deleted; an id is never used twice' });
    case 'busy':
      return new Failure('StillRunning', { workflowId: refused.workflowId });
  }
}

/**
 * Takes the snapshot and makes its row `available`. Heartbeats. Idempotent; one that ends late leaves nothing behind.
 * @throws VolumeInUse, VolumeNotFound, NoSpace, ForeignObject, SnapshotConflict, SnapshotNotFound (it was deleted meanwhile) (final); ToolFailed,
 *   BackendUnavailable (retried).
 */
export function createTakeSnapshot(deps: BackendDependencies, name: BackendName) {
  return async function takeSnapshot({
    plan,
    ...caller
  }: { plan: SnapshotPlan } & Caller): Promise<CreateSnapshotResult> {
    const backend = backendHeld(deps, name);
    const { snapshotId } = plan;
    const { sizeBytes } = await take(backend, markerOf(deps, plan));
    const source = { ...caller, ...workflowExecution() };
    const complete = async () => await completeSnapshot(deps.database, { snapshotId, sizeBytes, source });
    let completed = await complete();
    if (completed.kind === 'not-creating' && (await goOnAfterReset(deps, snapshotId))) completed = await complete();
    if (completed.kind === 'completed') return resultOf(completed.snapshot);
    const remove = async (): Promise<void> => await backend.ensureSnapshotAbsent(plan);
    await removeSnapshotOrphan(deps.database, { snapshotId, runId: source.runId, remove });
    throw new Failure('SnapshotNotFound', { snapshotId });
  };
}

async function take(backend: VolumeBackend, marker: SnapshotMarker) {
  const first = { stage: 'converting', summary: `taking snapshot ${marker.snapshotId}` } as const;
  return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
    const onProgress = (fraction: number): void =>
      reporter.report({ ...first, summary: `${first.summary}: ${Math.round(100 * fraction)} % is copied` });
    return await backend.ensureSnapshot(marker, { onProgress, signal: reporter.signal });
  });
}

function markerOf({ installation }: ControlDependencies, plan: SnapshotPlan): SnapshotMarker {
  const { snapshotId, volumeId, projectId, name, sizeBytes } = plan;
  return { kind: 'snapshot', installation, snapshotId, volumeId, projectId, name, sizeBytes };
}

/** Makes the row this run's where an earlier run of this workflow has it, which a reset has ended. Idempotent. */
async function goOnAfterReset(deps: ControlDependencies, snapshotId: SnapshotId): Promise<boolean> {
  const { workflowId, runId } = workflowExecution();
  const row = await findSnapshot(deps.database, { snapshotId, scope: 'all projects' });
  if (row?.workflowId !== workflowId || row.runId === runId) return false;
  const earlierRunId = row.runId;
  if ((await findLiveRun(deps, { workflowId, runId: earlierRunId })) !== runId) return false;
  return await takeOverSnapshot(deps.database, { snapshotId, earlierRunId, runId });
}

/** Undo of `takeSnapshot`: removes what was made; the absent is done, and one that became available stays. */
export function createRemoveSnapshot(deps: BackendDependencies, name: BackendName) {
  return async function removeSnapshot(ref: { snapshotId: SnapshotId; volumeId: VolumeId }): Promise<void> {
    const { snapshotId } = ref;
    await goOnAfterReset(deps, snapshotId);
    const remove = async (): Promise<void> => await backendHeld(deps, name).ensureSnapshotAbsent(ref);
    await removeGivenUpSnapshot(deps.database, { snapshotId, runId: workflowExecution().runId, remove });
  };
}

export interface EndedSnapshot {
  freedEntry?: FreedEntry;
  /** It was completed after all: its answer was lost, or the cancel came when it was done. */
  completed?: CreateSnapshotResult;
}

/** Ends a snapshot that was undone: `error` with the public message, or `deleted` when it was cancelled. Idempotent. */
export function createFailSnapshot(deps: ControlDependencies) {
  return async function failSnapshot({
    snapshotId,
    failure,
    ...caller
  }: { snapshotId: SnapshotId; failure?: FailureRecord } & Caller): Promise<EndedSnapshot> {
    const source = { ...caller, ...workflowExecution() };
    await goOnAfterReset(deps, snapshotId);
    const error = failure && { type: failure.type, message: failure.message };
    const ended = await markSnapshotFailed(deps.database, { snapshotId, error, source });
    const row = await findSnapshot(deps.database, { snapshotId, scope: 'all projects' });
    const isOwn = row?.state === 'available' && row.workflowId === source.workflowId;
    return isOwn ? { ...ended, completed: resultOf(row) } : ended;
  };
}

/** @returns the snapshot that this very run has admitted; null when its admission inserted nothing. */
export function createFindAdmittedSnapshot(deps: ControlDependencies) {
  return async function findAdmittedSnapshot(input: unknown): Promise<CreateSnapshotResult | null> {
    const { workflowId, runId } = workflowExecution();
    const request = parseOrNone(input);
    if (request === undefined) return null;
    const snapshotId = requestedSnapshotId(workflowId, request, deps.queues.prefix);
    const row = await findSnapshot(deps.database, { snapshotId, scope: 'all projects' });
    return row?.runId === runId ? resultOf(row) : null;
  };
}

/** An input that is no valid request was never admitted. */
function parseOrNone(input: unknown): CreateSnapshotInput | undefined {
  try {
    return parseCreateSnapshotRequest(input);
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}

function resultOf({
  id: snapshotId,
  volumeId,
  projectId,
  backend,
  name,
  sizeBytes,
}: SnapshotRow): CreateSnapshotResult {
  return { snapshotId, volumeId, projectId, backend, name, sizeBytes };
}
