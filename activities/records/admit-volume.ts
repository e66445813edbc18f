import { activityInfo, cancellationSignal } from '@temporalio/activity';
import { recordDecision } from '../../db/queries/decisions';
import { admitVolume as insertVolume, failVolume } from '../../db/queries/volumes';
import { GiB, MiB, roundUpTo } from '../../workflows/contract/bytes';
import { Failure, failures, type FailureType } from '../../workflows/contract/failures';
import {
  uuidPattern,
  type BackendName,
  type ImageId,
  type ProjectId,
  type VolumeId,
} from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { Admission } from '../../workflows/contract/population';
import type { BypassReason, CreateVolumeInput, CreateVolumeResult } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { cacheKeyOf } from './cache-key';
import { parseCreateVolumeRequest, volumeIdOf } from './create-volume-request';
import { resultOf } from './volume-result';

export type AdmitOutcome =
  { kind: 'admitted'; volumeId: VolumeId; admission: Admission } | { kind: 'available'; result: CreateVolumeResult };

/** New volumes are sized in whole units of this. */
const SIZE_UNIT_BYTES = MiB;
/** Of one field of a refused request. */
const MAX_RECORDED_CHARACTERS = 64;

/**
 * Validates the request against the image's record and the backend, then inserts the volume row `creating`. Idempotent for one run.
 * A refusal leaves no volume row and one decision record. Undo: `failVolume`.
 * @throws InvalidRequest, ImageNotFound, ImageNotActive, ImageUnsupported, Conflict, VolumeDeleted, NoSpace (final); ImageServiceUnavailable, DatabaseUnavailable (retried).
 */
export function createAdmitVolume(deps: ControlDependencies) {
  return async function admitVolume(input: unknown): Promise<AdmitOutcome> {
    const startedAtMs = Date.now();
    const { workflowId, runId } = workflowExecution();
    let volumeId: VolumeId | undefined;
    try {
      const request = parseCreateVolumeRequest(input);
      volumeId = volumeIdOf(workflowId, request);
      const backend = backendOf(deps, request);
      // Asked on every create: who may read an image can change without any timestamp moving.
      const image = await deps.images.getImage(request.imageId, cancellationSignal());
      checkImage(deps, image);
      checkSize(request, image);
      await checkSpace(deps, backend, request.sizeBytes ?? defaultSizeBytes(image) ?? 0);
      const admission: Admission = {
        imageId: image.id,
        projectId: (request.projectId ?? deps.config.defaultProjectId) as ProjectId,
        backend,
        name: request.name ?? null,
        cacheKey: cacheKeyOf(image),
        sizeBytes: request.sizeBytes ?? defaultSizeBytes(image),
        minDiskBytes: image.minDiskGiB * GiB,
        imageBytes: image.sizeBytes ?? 0,
        bypass: bypassOf(deps, backend, request),
        budgetMs: deps.config.createBudget,
        safetyIntervalMs: deps.config.createSafetyInterval,
        searchAttributes: deps.searchAttributes,
        admitMs: Date.now() - startedAtMs,
      };
      return await insert(deps, { volumeId, admission, request, image, workflowId, runId });
    } catch (error) {
      if (isRefusal(error)) await endRefused(deps, { input, volumeId, failure: error });
      throw error;
    }
  };
}

interface Insertion {
  volumeId: VolumeId;
  admission: Admission;
  request: CreateVolumeInput;
  image: Image;
  workflowId: string;
  runId: string;
}

async function insert(
  deps: ControlDependencies,
  { volumeId, admission, request, image, workflowId, runId }: Insertion,
): Promise<AdmitOutcome> {
  const inserted = await insertVolume(deps.database, {
    volumeId,
    projectId: admission.projectId,
    name: admission.name,
    backend: admission.backend,
    imageId: image.id,
    shortKey: admission.cacheKey.short,
    request: canonicalRequest(request, admission),
    sizeBytes: admission.sizeBytes,
    imageMetadata: imageMetadataOf(image),
    metadata: request.metadata ?? {},
    workflowId,
    runId,
  });
  switch (inserted.kind) {
    case 'admitted':
      return { kind: 'admitted', volumeId, admission };
    case 'available':
      return {
        kind: 'available',
        result: resultOf(inserted.volume, {
          reason: 'the same request was answered before',
          bytesDownloaded: 0,
          timingsMs: {},
        }),
      };
    case 'conflict':
      throw new Failure('Conflict', { volumeId, found: inserted.found });
    case 'busy':
      throw new Failure('Conflict', { volumeId, found: `workflow ${inserted.workflowId} is creating it` });
    case 'deleted':
      throw new Failure('VolumeDeleted', { volumeId });
  }
}

/** The request as given, with what the defaults stood for: the same bytes mean the same request. */
function canonicalRequest(request: CreateVolumeInput, admission: Admission): Record<string, unknown> {
  const { imageId, backend, projectId, name } = admission;
  return {
    imageId,
    backend,
    projectId,
    name,
    sizeBytes: request.sizeBytes ?? null,
    metadata: request.metadata ?? {},
    bypassCache: request.bypassCache ?? false,
  };
}

function backendOf({ config }: ControlDependencies, request: CreateVolumeInput): BackendName {
  const known = Object.keys(config.backends);
  const name = request.backend ?? config.defaultBackend ?? known[0];
  if (name === undefined || !known.includes(name)) {
    throw new Failure('InvalidRequest', {
      field: 'backend',
      value: JSON.stringify(request.backend),
      allowed: known.join(', '),
    });
  }
  return name as BackendName;
}

function checkImage({ config }: ControlDependencies, image: Image): void {
  if (image.status !== 'active') throw new Failure('ImageNotActive', { imageId: image.id, status: image.status });
  const unsupported = (found: string, allowed: string) =>
    new Failure('ImageUnsupported', { imageId: image.id, found, allowed });
  const containers: readonly string[] = config.policy.containers;
  if (!containers.includes(image.containerFormat ?? ''))
    throw unsupported(`container_format ${image.containerFormat}`, `container_format ${containers.join(', ')}`);
  const formats: readonly string[] = config.policy.formats;
  if (!formats.includes(image.diskFormat ?? ''))
    throw unsupported(`disk_format ${image.diskFormat}`, `disk_format ${formats.join(', ')}`);
  if (image.sizeBytes === null || image.sizeBytes === 0) throw unsupported('empty', 'at least one byte');
  const virtualBytes = image.virtualSizeBytes ?? 0;
  if (virtualBytes > config.policy.maxVirtualSize) {
    throw new Failure('ImageRefused', {
      imageId: image.id,
      rule: 'max-virtual-size',
      found: `${virtualBytes} bytes`,
      allowed: `at most ${config.policy.maxVirtualSize} bytes`,
    });
  }
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

/** What is known before anything is made: a volume beyond what the backend may promise, or an image that does not fit what is free. */
async function checkSpace(deps: ControlDependencies, name: BackendName, sizeBytes: number): Promise<void> {
  const space = await deps.backends.get(name)?.space();
  if (space === undefined) return;
  const promisable = Math.floor(space.totalBytes * (deps.config.backends[name]?.maxOverSubscription ?? 1));
  if (sizeBytes > promisable)
    throw new Failure('NoSpace', { backend: name, neededBytes: sizeBytes, freeBytes: promisable });
}

function defaultSizeBytes(image: Image): number | null {
  if (image.virtualSizeBytes === null) return null;
  return roundUpTo(Math.max(image.virtualSizeBytes, image.minDiskGiB * GiB), SIZE_UNIT_BYTES);
}

/** @returns a volume's size once the guest-visible bytes are known. @throws InvalidRequest when the request's size is below them (final). */
export function sizeOf({ sizeBytes, minDiskBytes }: Admission, virtualBytes: number): number {
  if (sizeBytes === null) return roundUpTo(Math.max(virtualBytes, minDiskBytes), SIZE_UNIT_BYTES);
  if (sizeBytes >= virtualBytes) return sizeBytes;
  throw new Failure('InvalidRequest', {
    field: 'sizeBytes',
    value: String(sizeBytes),
    allowed: `at least ${virtualBytes}, the image's virtual size as its bytes say`,
  });
}

function bypassOf(
  { config }: ControlDependencies,
  backend: BackendName,
  request: CreateVolumeInput,
): BypassReason | null {
  if (request.bypassCache) return 'requested';
  return config.backends[backend]?.cache.enabled === false ? 'cache-off' : null;
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

/** What time may mend is no refusal yet. */
function isRefusal(error: unknown): error is Failure {
  if (!(error instanceof Failure)) return false;
  const type: FailureType = error.type;
  return !failures[type].retry;
}

/** Records the refusal. An earlier try whose answer was lost may have inserted the row: that one ends here. */
async function endRefused(
  deps: ControlDependencies,
  { input, volumeId, failure }: { input: unknown; volumeId: VolumeId | undefined; failure: Failure },
): Promise<void> {
  const { workflowId, runId } = workflowExecution();
  if (volumeId !== undefined) {
    const error = { type: failure.type, message: failure.message };
    await failVolume(deps.database, { volumeId, runId, to: 'error', error, decision: { reason: failure.message } });
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
}

/** What a caller sent is recorded only where it can be an id or a name. */
function isRecordable(value: string): boolean {
  return value.length <= MAX_RECORDED_CHARACTERS && /^[\x20-\x7e]*$/.test(value);
}

function uuidOf(value: string | undefined): VolumeId | undefined {
  return value !== undefined && uuidPattern.test(value) ? (value as VolumeId) : undefined;
}

/** The run that this activity belongs to. */
export function workflowExecution(): { workflowId: string; runId: string } {
  const { workflowExecution: execution } = activityInfo();
  if (execution === undefined) throw new Error('this activity runs in a workflow only');
  return execution;
}
