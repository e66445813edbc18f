import { recordDecision } from '../../db/report/decisions';
import { insertVolume, markAllFailed, type InsertVolumeOutcome } from '../../db/creates';
import { GiB } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import {
  uuidPattern,
  type BackendName,
  type ImageId,
  type ProjectId,
  type VolumeId,
} from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { Admission } from '../../workflows/contract/population';
import type { CreateVolumeInput, CreateVolumeResult } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { cacheKeyOf } from '../kit/cache-key';
import { checkImage } from '../kit/check-image';
import { chooseBackend, chooseProject } from '../kit/request';
import { findLiveRun, workflowExecution } from '../kit/runs';
import { resultOf, sizeOf } from '../kit/created-volume';
import { parseCreateVolumeRequest, volumeIdOf, followNameOf } from './create-volume-request';
import { readRequestedImage } from './requested-image';

export type AdmitOutcome =
  { kind: 'admitted'; volumeId: VolumeId; admission: Admission } | { kind: 'available'; result: CreateVolumeResult };

/** Of one field of a refused request. */
const MAX_RECORDED_CHARACTERS = 64;

/**
 * Validates the request against the image's record and the backend, then inserts the volume row `creating`. Idempotent
 * for one run. A refusal leaves no volume row and one decision record. Undo: `failVolume`.
 * @throws InvalidRequest, ImageNotFound, FollowNotFound, ImageNotActive, ImageUnsupported, Conflict, VolumeDeleted,
 * NoSpace (final); VolumeBusy, ImageServiceUnavailable, DatabaseUnavailable (retried).
 */
export function createAdmitVolume(deps: ControlDependencies) {
  return async function admitVolume(input: unknown): Promise<AdmitOutcome> {
    const startedAtMs = performance.now();
    const { workflowId } = workflowExecution();
    let volumeId: VolumeId | undefined;
    try {
      const request = parseCreateVolumeRequest(input);
      volumeId = volumeIdOf(workflowId, request, deps.queues.prefix);
      const { admission, image } = await checkRequest(deps, { request, volumeId, startedAtMs });
      const bypass = request.bypassCache ? 'requested' : admission.bypass;
      return await insert(deps, { volumeId, admission: { ...admission, bypass }, request, image });
    } catch (error) {
      // A failure that may pass is no refusal yet.
      if (error instanceof Failure && error.isFinal)
        await endRefused(deps, { input, volumeIds: volumeId === undefined ? [] : [volumeId], failure: error });
      throw error;
    }
  };
}

/**
 * Checks a request for a volume, or for several, against the image's record and the backend.
 * @param volumeId the first one.
 */
export async function checkRequest(
  deps: ControlDependencies,
  {
    request,
    volumeId,
    startedAtMs,
  }: { request: Omit<CreateVolumeInput, 'volumeId'>; volumeId: VolumeId; startedAtMs: number },
): Promise<{ admission: Admission; image: Image }> {
  const backend = chooseBackend(deps, request.backend);
  const projectId = chooseProject(deps, request.projectId);
  const image = await readRequestedImage(deps, { given: request.imageId, backend, volumeId, projectId });
  checkImage(deps, image);
  checkSize(request, image);
  const minDiskBytes = image.minDiskGiB * GiB;
  const { virtualSizeBytes } = image;
  const byRecord = virtualSizeBytes === null ? null : sizeOf({ sizeBytes: null, minDiskBytes }, virtualSizeBytes);
  const cacheOff = deps.config.backends[backend]?.cache.enabled === false;
  const admission: Admission = {
    imageId: image.id,
    projectId,
    backend,
    name: request.name ?? null,
    cacheKey: cacheKeyOf(image),
    sizeBytes: request.sizeBytes ?? byRecord,
    minDiskBytes,
    imageBytes: image.sizeBytes ?? 0,
    bypass: cacheOff ? 'cache-off' : null,
    budgetMs: deps.config.createBudget,
    safetyIntervalMs: deps.config.createSafetyInterval,
    conversionMs: deps.config.tools.wallClock,
    searchAttributes: deps.searchAttributes,
    admitMs: Math.round(performance.now() - startedAtMs),
  };
  return { admission, image };
}

interface Checked {
  admission: Omit<Admission, 'name'>;
  request: Omit<CreateVolumeInput, 'volumeId'>;
  image: Image;
}

/** What the rows of a request have in common. */
export async function sharedRow(deps: ControlDependencies, { admission, request, image }: Checked) {
  const { projectId, backend, sizeBytes } = admission;
  const space = await deps.backends.get(backend)?.space();
  return {
    projectId,
    backend,
    imageId: image.id,
    shortKey: admission.cacheKey.short,
    request: canonicalRequest(request, admission),
    sizeBytes,
    imageMetadata: imageMetadataOf(image),
    metadata: request.metadata ?? {},
    ...workflowExecution(),
    // What the backend's volumes may grow to together is known before anything is made.
    promise: {
      overSubscription: deps.config.backends[backend]?.maxOverSubscription ?? 1,
      totalBytes: space?.totalBytes,
    },
  };
}

async function insert(
  deps: ControlDependencies,
  { volumeId, admission, ...checked }: Checked & { volumeId: VolumeId; admission: Admission },
): Promise<AdmitOutcome> {
  const row = { ...(await sharedRow(deps, { admission, ...checked })), volumeId, name: admission.name };
  const inserted = await insertOrTakeOver(deps, row);
  if (inserted.kind === 'admitted') return { kind: 'admitted', volumeId, admission };
  if (inserted.kind !== 'available') throw refusalOf(inserted, { volumeId, admission });
  const reason = 'the same request was answered before';
  return { kind: 'available', result: resultOf(inserted.volume, { reason, bytesDownloaded: 0, timingsMs: {} }) };
}

/** @returns why no row is inserted. */
export function refusalOf(
  refused: Exclude<InsertVolumeOutcome, { kind: 'admitted' | 'available' }>,
  { volumeId, admission: { backend } }: { volumeId: VolumeId; admission: Pick<Admission, 'backend'> },
): Failure {
  switch (refused.kind) {
    case 'conflict':
      return new Failure('Conflict', { volumeId, found: refused.found });
    case 'busy':
      return new Failure('VolumeBusy', { volumeId, workflowId: refused.workflowId });
    case 'deleted':
      return new Failure('VolumeDeleted', { volumeId });
    case 'no-room': {
      const { neededBytes, promisedBytes, mostBytes } = refused;
      const freeBytes = Math.max(0, mostBytes - promisedBytes);
      return new Failure('NoSpace', { backend, neededBytes, freeBytes, promisedBytes, mostBytes });
    }
  }
}

/**
 * Temporal knows whether the run that makes the volume lives; the row does not. A dead run's row is taken over at once,
 * under any workflow id.
 */
async function insertOrTakeOver(deps: ControlDependencies, row: Parameters<typeof insertVolume>[1]) {
  const inserted = await insertVolume(deps.database, row);
  if (inserted.kind !== 'busy' || !(await isDead(deps, inserted))) return inserted;
  return await insertVolume(deps.database, { ...row, deadRunId: inserted.runId });
}

/**
 * @returns whether a run does nothing more for its row, so that this run may have it. A late try of a run that is dead
 * itself takes nothing over.
 */
export async function isDead(
  deps: ControlDependencies,
  other: { workflowId: string; runId: string },
): Promise<boolean> {
  const own = workflowExecution();
  const liveRunId = await findLiveRun(deps, other);
  if (liveRunId !== undefined && liveRunId !== own.runId) return false;
  return (await findLiveRun(deps, own)) !== undefined;
}

/** The request as given, with what the defaults stood for: the same bytes mean the same request. */
function canonicalRequest(
  request: Checked['request'],
  { backend, projectId, imageId }: Checked['admission'],
): Record<string, unknown> {
  return {
    // The same request stays the same though its follow has moved on.
    imageId: followNameOf(request.imageId) === undefined ? imageId : request.imageId,
    backend,
    projectId,
    name: request.name ?? null,
    sizeBytes: request.sizeBytes ?? null,
    metadata: request.metadata ?? {},
    bypassCache: request.bypassCache ?? false,
  };
}

function checkSize({ sizeBytes }: Pick<CreateVolumeInput, 'sizeBytes'>, image: Image): void {
  if (sizeBytes === undefined) return;
  const minDiskBytes = image.minDiskGiB * GiB;
  const refuse = (allowed: string) =>
    new Failure('InvalidRequest', { field: 'sizeBytes', value: String(sizeBytes), allowed });
  if (sizeBytes < minDiskBytes)
    throw refuse(`at least ${minDiskBytes}, the image's min_disk of ${image.minDiskGiB} GiB`);
  if (sizeBytes < (image.virtualSizeBytes ?? 0))
    throw refuse(`at least ${image.virtualSizeBytes}, the image's virtual size`);
}

function imageMetadataOf(image: Image): Record<string, string> {
  const { id, name, diskFormat, containerFormat, checksum, minDiskGiB, minRamMiB, sizeBytes, properties } = image;
  const own = {
    image_id: id,
    image_name: name,
    disk_format: diskFormat,
    container_format: containerFormat,
    checksum,
    min_disk: minDiskGiB,
    min_ram: minRamMiB,
    size: sizeBytes,
  };
  return {
    ...properties,
    ...Object.fromEntries(Object.entries(own).map(([key, value]) => [key, String(value ?? '')])),
  };
}

/** Records the refusal. An earlier try whose answer was lost may have inserted rows: those end here. */
export async function endRefused(
  deps: ControlDependencies,
  { input, volumeIds, failure }: { input: unknown; volumeIds: readonly VolumeId[]; failure: Failure },
): Promise<void> {
  const { workflowId, runId } = workflowExecution();
  if (volumeIds.length > 0) {
    const ending = {
      to: 'error',
      error: { type: failure.type, message: failure.message },
      decision: { reason: failure.message },
    } as const;
    const endings = volumeIds.map((volumeId) => ({ ...ending, volumeId }));
    await markAllFailed(deps.database, { runId, endings, ofSeveral: volumeIds.length > 1 });
  }
  const given = (field: string) => {
    const value: unknown = typeof input === 'object' && input !== null ? Reflect.get(input, field) : undefined;
    return typeof value === 'string' && isRecordable(value) ? value : undefined;
  };
  await recordDecision(deps.database, {
    outcome: 'refused',
    reason: failure.message,
    errorType: failure.type,
    imageId: given('imageId') as ImageId | undefined,
    volumeId: uuidOf(given('volumeId')) ?? null,
    backend: given('backend') as BackendName | undefined,
    projectId: given('projectId') as ProjectId | undefined,
    workflowId,
    runId,
  });
  const backend = given('backend') ?? deps.config.defaultBackend ?? '';
  const known = backend in deps.config.backends ? (backend as BackendName) : 'unknown';
  deps.metrics.createEnded({ backend: known, outcome: 'refused' });
}

/** A caller's value is recorded only where it can be an id or a name. */
function isRecordable(value: string): boolean {
  return value.length <= MAX_RECORDED_CHARACTERS && /^[\x20-\x7e]*$/.test(value);
}

function uuidOf(value: string | undefined): VolumeId | undefined {
  return value !== undefined && uuidPattern.test(value) ? (value as VolumeId) : undefined;
}
