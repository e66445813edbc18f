import { randomUUID } from 'node:crypto';
import { holdEntryOf } from '../../db/creates';
import type { VolumeRow } from '../../db/schema';
import { findSnapshot } from '../../db/snapshots';
import { findVolume } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry, Story } from '../../workflows/contract/population';
import type {
  Connection,
  CreatePlainVolumeInput,
  CreateVolumeResult,
  PlainVolumePlan,
  VolumeSource,
} from '../../workflows/contract/volume';
import type { VolumeBackend, VolumeMarker } from '../backends/backend';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { complete, resultOf } from '../kit/created-volume';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { promiseLimitOf } from '../kit/promise-limit';
import { chooseProject } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { endAdmission } from './admit-volume';
import { insertOrTakeOver, refusalOf } from './insert-row';
import { volumeIdOf } from './create-volume-request';
import { placesFor } from './place-volume';
import { parseCreatePlainVolumeRequest } from './plain-volume-request';

export type AdmitPlainVolumeOutcome =
  { kind: 'admitted'; plan: PlainVolumePlan } | { kind: 'available'; result: CreateVolumeResult };

/**
 * Validates the request against its source, inserts the volume row `creating`, and lets it hold the entry that its source holds. Idempotent for one run. A
 * refusal leaves no volume row and one decision record. Undo: `failVolume`.
 * @throws InvalidRequest, SnapshotNotFound, VolumeNotFound, Conflict, VolumeDeleted, NoSpace, QuotaExceeded (final); VolumeBusy, DatabaseUnavailable
 *   (retried).
 */
export function createAdmitPlainVolume(deps: ControlDependencies) {
  return async function admitPlainVolume(input: unknown): Promise<AdmitPlainVolumeOutcome> {
    const startedAtMs = performance.now();
    const { workflowId } = workflowExecution();
    let volumeId: VolumeId | undefined;
    let request: CreatePlainVolumeInput | undefined;
    try {
      request = parseCreatePlainVolumeRequest(input);
      volumeId = volumeIdOf(workflowId, request, deps.queues.prefix);
      return await admit(deps, { request, volumeId, startedAtMs });
    } catch (error) {
      throw await endAdmission(deps, { input, request, volumeId, error });
    }
  };
}

/** A source, and its facts about the volume that is made of it. */
interface Source {
  source: VolumeSource;
  /** The volume whose bytes they are. */
  volume?: VolumeRow;
  sizeBytes: number;
  backend: BackendName;
  holdsEntry: boolean;
  type: TypeOfVolume;
}

type TypeOfVolume = Pick<VolumeRow, 'volumeType' | 'volumeTypeId' | 'multiattach'>;

async function admit(
  deps: ControlDependencies,
  { request, volumeId, startedAtMs }: { request: CreatePlainVolumeInput; volumeId: VolumeId; startedAtMs: number },
): Promise<AdmitPlainVolumeOutcome> {
  const projectId = chooseProject(deps, request.projectId);
  await deps.checkProject(projectId);
  const found = await findSource(deps, request, projectId);
  const { source, volume, backend, type } = found;
  const sizeBytes = request.sizeBytes ?? found.sizeBytes;
  if (sizeBytes < found.sizeBytes) {
    const allowed = `at least ${found.sizeBytes}, the size of its source`;
    throw new Failure('InvalidRequest', { field: 'sizeBytes', value: String(sizeBytes), allowed });
  }
  const name = request.name ?? null;
  const { snapshotId = null, sourceVolumeId = null, metadata = {}, description, by, requestId } = request;
  const inserted = await insertOrTakeOver(deps, {
    volumeId,
    projectId,
    backend,
    name,
    imageId: volume?.imageId ?? null,
    shortKey: volume?.shortKey ?? null,
    request: {
      snapshotId,
      sourceVolumeId,
      backend,
      projectId,
      name,
      sizeBytes: request.sizeBytes ?? null,
      metadata,
      ...(description !== undefined && { description }),
      ...(request.volumeType !== undefined && { volumeType: request.volumeType }),
    },
    sizeBytes,
    imageMetadata: volume?.imageMetadata ?? {},
    metadata,
    description,
    volumeType: type.volumeType ?? undefined,
    volumeTypeId: type.volumeTypeId,
    multiattach: type.multiattach,
    by,
    requestId,
    ...workflowExecution(),
    promise: await promiseLimitOf(deps, backend),
  });
  if (inserted.kind === 'available') {
    const reason = 'the same request was answered before';
    return { kind: 'available', result: resultOf(inserted.volume, { reason, bytesDownloaded: 0, timingsMs: {} }) };
  }
  if (inserted.kind !== 'admitted') throw refusalOf(inserted, { volumeId, admission: { backend, projectId } });
  if (found.holdsEntry) await hold(deps, volumeId, source);
  const bootable = volume?.bootable ?? false;
  const admitMs = Math.round(performance.now() - startedAtMs);
  return { kind: 'admitted', plan: { volumeId, backend, projectId, name, sizeBytes, bootable, source, admitMs } };
}

/** A snapshot or volume, of the project itself unless an operator asks, on the backend where the volume is made. */
async function findSource(
  deps: ControlDependencies,
  request: CreatePlainVolumeInput,
  projectId: ProjectId,
): Promise<Source> {
  const { snapshotId, sourceVolumeId, sizeBytes = 0, ofAnyProject = false } = request;
  const scope = ofAnyProject ? 'all projects' : { projectId };
  if (snapshotId === undefined && sourceVolumeId === undefined) {
    const places = await placesFor(deps, request, projectId);
    return { source: { kind: 'blank' }, sizeBytes, backend: places.backends[0], holdsEntry: false, type: places };
  }
  if (snapshotId !== undefined) {
    const snapshot = await findSnapshot(deps.database, { snapshotId: snapshotId as SnapshotId, scope });
    if (snapshot === undefined || snapshot.state === 'deleted') throw new Failure('SnapshotNotFound', { snapshotId });
    checkUsable('snapshotId', snapshot, request);
    const volume = await findVolume(deps.database, { volumeId: snapshot.volumeId, scope: 'all projects' });
    const source = { kind: 'snapshot', snapshotId: snapshot.id, volumeId: snapshot.volumeId } as const;
    return {
      ...snapshot,
      source,
      volume,
      type: await typeBeside(deps, { request, volume, backend: snapshot.backend, projectId }),
    };
  }
  const volume = await findVolume(deps.database, { volumeId: sourceVolumeId as VolumeId, scope });
  if (volume === undefined || volume.state === 'deleted')
    throw new Failure('VolumeNotFound', { volumeId: sourceVolumeId ?? '' });
  checkUsable('sourceVolumeId', volume, request);
  const type = await typeBeside(deps, { request, volume, backend: volume.backend, projectId });
  return { ...volume, sizeBytes: volume.sizeBytes ?? 0, source: { kind: 'volume', volumeId: volume.id }, volume, type };
}

/** The type that a request names, which must allow the source's backend, else the source's. */
async function typeBeside(
  deps: ControlDependencies,
  {
    request,
    volume,
    backend,
    projectId,
  }: { request: CreatePlainVolumeInput; volume: TypeOfVolume | undefined; backend: BackendName; projectId: ProjectId },
): Promise<TypeOfVolume> {
  if (request.volumeType === undefined) return volume ?? { volumeType: null, volumeTypeId: null, multiattach: false };
  return await placesFor(deps, { volumeType: request.volumeType, backend }, projectId);
}

function checkUsable(
  field: string,
  { id, state, backend }: { id: string; state: string; backend: BackendName },
  request: CreatePlainVolumeInput,
): void {
  if (state !== 'available')
    throw new Failure('InvalidRequest', { field, value: `${id}, which is ${state}`, allowed: 'one that is available' });
  if (request.backend !== undefined && request.backend !== backend)
    throw new Failure('InvalidRequest', {
      field: 'backend',
      value: request.backend,
      allowed: `${backend}, its source's`,
    });
}

/** A source that was deleted meanwhile holds nothing any more. */
async function hold(deps: ControlDependencies, volumeId: VolumeId, source: VolumeSource): Promise<void> {
  if (source.kind === 'blank') return;
  const { runId } = workflowExecution();
  const of =
    source.kind === 'snapshot'
      ? ({ table: 'snapshots', id: source.snapshotId } as const)
      : ({ table: 'volumes', id: source.volumeId } as const);
  if (await holdEntryOf(deps.database, { volumeId, runId, source: of })) return;
  if (source.kind === 'snapshot') throw new Failure('SnapshotNotFound', { snapshotId: source.snapshotId });
  throw new Failure('VolumeNotFound', { volumeId: source.volumeId });
}

/**
 * Makes the volume's bytes and its row `available`, with its decision record. Heartbeats. Idempotent; one that ends late leaves nothing behind.
 * @throws SnapshotNotFound, NoSpace, InvalidRequest, ForeignObject, Conflict, CreateCancelled (final); ToolFailed, BackendUnavailable (retried).
 */
export function createMakePlainVolume(deps: BackendDependencies, name: BackendName) {
  return async function makePlainVolume({
    plan,
    story,
  }: {
    plan: PlainVolumePlan;
    story: Story;
  }): Promise<{ result: CreateVolumeResult; freedEntry?: FreedEntry }> {
    const stepStartedAtMs = performance.now();
    const backend = backendHeld(deps, name);
    const { volumeId, projectId, sizeBytes, bootable } = plan;
    const { installation } = deps;
    const marker: VolumeMarker = { kind: 'volume', installation, volumeId, projectId, name: plan.name, sizeBytes };
    const connection = await make(backend, plan.source, marker);
    return await complete(deps, { volumeId, story, sizeBytes, connection, bootable, backend, stepStartedAtMs });
  };
}

async function make(backend: VolumeBackend, source: VolumeSource, marker: VolumeMarker): Promise<Connection> {
  if (source.kind === 'blank') return await makeBlank(backend, marker);
  if (source.kind === 'volume') throw new Error('a volume is copied by a snapshot of it');
  const first = { stage: 'converting', summary: `making volume ${marker.volumeId} of a snapshot` } as const;
  return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
    const onProgress = (fraction: number): void =>
      reporter.report({ ...first, summary: `${first.summary}: ${Math.round(100 * fraction)} % is its own` });
    return await backend.cloneSnapshot({ snapshot: source, marker }, { onProgress, signal: reporter.signal });
  });
}

async function makeBlank(backend: VolumeBackend, marker: VolumeMarker): Promise<Connection> {
  const attempt = { kind: 'volume', name: marker.volumeId, attempt: randomUUID() } as const;
  try {
    const target = await backend.ensureWriteTarget({ ...attempt, virtualBytes: marker.sizeBytes });
    return await backend.publishVolume(target, marker);
  } catch (error) {
    await backend.ensureAttemptAbsent(attempt);
    throw error;
  }
}
