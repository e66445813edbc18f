import { cancellationSignal } from '@temporalio/activity';
import { resolveFollow } from '../../db/follows/follows';
import { recordDecision } from '../../db/report/decisions';
import { insertVolume, markFailed } from '../../db/creates';
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
import { chooseBackend } from '../kit/request';
import { findLiveRun, workflowExecution } from '../kit/runs';
import { resultOf, sizeOf } from '../kit/created-volume';
import { parseCreateVolumeRequest, volumeIdOf, followNameOf } from './create-volume-request';

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
      const backend = chooseBackend(deps, request.backend);
      // Read on every create: access to an image can change without any timestamp moving.
      const imageId = await resolveImageId(deps, { given: request.imageId, backend, volumeId });
      const image = await deps.images.getImage(imageId, cancellationSignal());
      checkImage(deps, image);
      checkSize(request, image);
      const minDiskBytes = image.minDiskGiB * GiB;
      const { virtualSizeBytes } = image;
      const byRecord = virtualSizeBytes === null ? null : sizeOf({ sizeBytes: null, minDiskBytes }, virtualSizeBytes);
      const cacheOff = deps.config.backends[backend]?.cache.enabled === false;
      const admission: Admission = {
        imageId: image.id,
        projectId: (request.projectId ?? deps.config.defaultProjectId) as ProjectId,
        backend,
        name: request.name ?? null,
        cacheKey: cacheKeyOf(image),
        sizeBytes: request.sizeBytes ?? byRecord,
        minDiskBytes,
        imageBytes: image.sizeBytes ?? 0,
        bypass: request.bypassCache ? 'requested' : cacheOff ? 'cache-off' : null,
        budgetMs: deps.config.createBudget,
        safetyIntervalMs: deps.config.createSafetyInterval,
        conversionMs: deps.config.tools.wallClock,
        searchAttributes: deps.searchAttributes,
        admitMs: Math.round(performance.now() - startedAtMs),
      };
      return await insert(deps, { volumeId, admission, request, image });
    } catch (error) {
      // A failure that may pass is no refusal yet.
      if (error instanceof Failure && error.isFinal) await endRefused(deps, { input, volumeId, failure: error });
      throw error;
    }
  };
}

interface Insertion {
  volumeId: VolumeId;
  admission: Admission;
  request: CreateVolumeInput;
  image: Image;
}

async function insert(
  deps: ControlDependencies,
  { volumeId, admission, request, image }: Insertion,
): Promise<AdmitOutcome> {
  const { projectId, name, backend, sizeBytes } = admission;
  const space = await deps.backends.get(backend)?.space();
  const inserted = await insertOrTakeOver(deps, {
    volumeId,
    projectId,
    name,
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
  });
  switch (inserted.kind) {
    case 'admitted':
      return { kind: 'admitted', volumeId, admission };
    case 'available': {
      const reason = 'the same request was answered before';
      return { kind: 'available', result: resultOf(inserted.volume, { reason, bytesDownloaded: 0, timingsMs: {} }) };
    }
    case 'conflict':
      throw new Failure('Conflict', { volumeId, found: inserted.found });
    case 'busy':
      throw new Failure('VolumeBusy', { volumeId, workflowId: inserted.workflowId });
    case 'deleted':
      throw new Failure('VolumeDeleted', { volumeId });
    case 'no-room': {
      const { promisedBytes, mostBytes } = inserted;
      const freeBytes = Math.max(0, mostBytes - promisedBytes);
      throw new Failure('NoSpace', { backend, neededBytes: sizeBytes ?? 0, freeBytes, promisedBytes, mostBytes });
    }
  }
}

/**
 * Temporal knows whether the run that makes the volume lives; the row does not. A dead run's row is taken over at once,
 * under any workflow id.
 */
async function insertOrTakeOver(deps: ControlDependencies, row: Parameters<typeof insertVolume>[1]) {
  const inserted = await insertVolume(deps.database, row);
  if (inserted.kind !== 'busy') return inserted;
  const liveRunId = await findLiveRun(deps, inserted);
  const isAnother = liveRunId !== undefined && liveRunId !== row.runId;
  // A late try of a run that is dead itself takes nothing over.
  if (isAnother || (await findLiveRun(deps, row)) === undefined) return inserted;
  return await insertVolume(deps.database, { ...row, deadRunId: inserted.runId });
}

/** The request as given, with what the defaults stood for: the same bytes mean the same request. */
function canonicalRequest(request: CreateVolumeInput, admission: Admission): Record<string, unknown> {
  const { backend, projectId, name } = admission;
  return {
    // The same request stays the same though its follow has moved on.
    imageId: followNameOf(request.imageId) === undefined ? admission.imageId : request.imageId,
    backend,
    projectId,
    name,
    sizeBytes: request.sizeBytes ?? null,
    metadata: request.metadata ?? {},
    bypassCache: request.bypassCache ?? false,
  };
}

function checkSize({ sizeBytes }: CreateVolumeInput, image: Image): void {
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

/** Records the refusal. An earlier try whose answer was lost may have inserted the row: that one ends here. */
async function endRefused(
  deps: ControlDependencies,
  { input, volumeId, failure }: { input: unknown; volumeId: VolumeId | undefined; failure: Failure },
): Promise<void> {
  const { workflowId, runId } = workflowExecution();
  if (volumeId !== undefined) {
    const error = { type: failure.type, message: failure.message };
    await markFailed(deps.database, { volumeId, runId, to: 'error', error, decision: { reason: failure.message } });
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

/**
 * @returns the image that a create means: the one it names, or what its follow has ready. A volume that was admitted
 * from a follow keeps its image.
 * @throws FollowNotFound (final); DatabaseUnavailable (retried).
 */
async function resolveImageId(
  { database }: ControlDependencies,
  { given, backend, volumeId }: { given: string; backend: BackendName; volumeId: VolumeId },
): Promise<string> {
  const name = followNameOf(given);
  if (name === undefined) return given;
  const resolved = await resolveFollow(database, { backend, name, volumeId });
  if (resolved.kind === 'image') return resolved.imageId;
  const found = resolved.kind === 'unknown' ? 'unknown' : 'without an image';
  throw new Failure('FollowNotFound', { follow: name, backend, found });
}
