import { admitUnplaced } from './admit-unplaced';
import { recordDecision } from '../../db/report/decisions';
import { markAllFailed } from '../../db/creates';
import { insertOrTakeOver, refusalOf } from './insert-row';
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
import { IMAGE_TYPE_PROPERTY } from '../../workflows/contract/volume-type';
import { ANY_BACKEND, type CreateVolumeInput, type CreateVolumeResult } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { cacheKeyOf } from '../kit/cache-key';
import { checkImage } from '../kit/check-image';
import { promiseLimitOf } from '../kit/promise-limit';
import { chooseProject } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { resultOf, sizeOf } from '../kit/created-volume';
import { parseCreateVolumeRequest, volumeIdOf, followNameOf } from './create-volume-request';
import { placesFor, placeVolume, type Places } from './place-volume';
import { imageMetadataOf } from '../kit/image-metadata';
import { readRequestedImage } from './requested-image';

export type AdmitOutcome =
  { kind: 'admitted'; volumeId: VolumeId; admission: Admission } | { kind: 'available'; result: CreateVolumeResult };

/** Of one field of a refused request. */
const MAX_RECORDED_CHARACTERS = 64;

/**
 * Validates the request against the image's record and the backend, then inserts the volume row `creating`. Idempotent
 * for one run. A refusal leaves no volume row and one decision record. Undo: `failVolume`.
 * @throws InvalidRequest, VolumeTypeNotFound, ImageNotFound, FollowNotFound, ImageNotActive, ImageUnsupported, ImageRefused, Conflict, VolumeDeleted,
 * NoSpace, QuotaExceeded (final); VolumeBusy, ImageServiceUnavailable, DatabaseUnavailable (retried).
 */
export function createAdmitVolume(deps: ControlDependencies) {
  return async function admitVolume(input: unknown): Promise<AdmitOutcome> {
    const startedAtMs = performance.now();
    const { workflowId } = workflowExecution();
    let volumeId: VolumeId | undefined;
    let request: CreateVolumeInput | undefined;
    try {
      request = parseCreateVolumeRequest(input);
      volumeId = volumeIdOf(workflowId, request, deps.queues.prefix);
      const { admission, image } = await checkRequest(deps, { request, volumeId, startedAtMs });
      const bypass = request.bypassCache ? 'requested' : admission.bypass;
      return await insert(deps, { volumeId, admission: { ...admission, bypass }, request, image });
    } catch (error) {
      throw await endAdmission(deps, { input, request, volumeId, error });
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
    count = 1,
  }: { request: Omit<CreateVolumeInput, 'volumeId'>; volumeId: VolumeId; startedAtMs: number; count?: number },
): Promise<{ admission: Admission; image: Image }> {
  const projectId = chooseProject(deps, request.projectId);
  await deps.checkProject(projectId);
  const { image, places } = await findImageAndPlaces(deps, { request, volumeId, projectId });
  checkImage(deps, image);
  checkSize(request, image);
  const minDiskBytes = image.minDiskGiB * GiB;
  const { virtualSizeBytes } = image;
  const byRecord = virtualSizeBytes === null ? null : sizeOf({ sizeBytes: null, minDiskBytes }, virtualSizeBytes);
  const cacheKey = cacheKeyOf(image, deps.signatures.signatureOf(image));
  const sizeBytes = request.sizeBytes ?? byRecord;
  const wanted = { key: cacheKey, volumeId, projectId, sizeBytes: (sizeBytes ?? 0) * count };
  const { backend, reason } = await placeVolume(deps, places, wanted);
  const cacheOff = deps.config.backends[backend]?.cache.enabled === false;
  const admission: Admission = {
    imageId: image.id,
    projectId,
    backend,
    ...(places.volumeType !== null && { volumeType: places.volumeType }),
    ...(places.volumeTypeId !== null && { volumeTypeId: places.volumeTypeId }),
    ...(places.multiattach && { multiattach: true }),
    ...(reason !== null && { placement: reason }),
    name: request.name ?? null,
    imageName: image.name,
    cacheKey,
    sizeBytes,
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

/** A follow is of a backend; any other image may say of which type its volumes are, unless the request does. */
async function findImageAndPlaces(
  deps: ControlDependencies,
  {
    request,
    volumeId,
    projectId,
  }: { request: Omit<CreateVolumeInput, 'volumeId'>; volumeId: VolumeId; projectId: ProjectId },
): Promise<{ image: Image; places: Places }> {
  const { imageId: given, volumeType, backend } = request;
  const byImage = volumeType === undefined && backend === undefined && followNameOf(given) === undefined;
  const known = byImage ? undefined : await placesFor(deps, request, projectId);
  const image = await readRequestedImage(deps, { given, backend: known?.backends[0], volumeId, projectId });
  const imageType = image.properties[IMAGE_TYPE_PROPERTY];
  return { image, places: known ?? (await placesFor(deps, { ...request, imageType }, projectId)) };
}

interface Checked {
  admission: Omit<Admission, 'name'>;
  request: Omit<CreateVolumeInput, 'volumeId'>;
  image: Image;
}

/** Values that the rows of a request have in common. */
export async function sharedRow(deps: ControlDependencies, { admission, request, image }: Checked) {
  const { projectId, backend, volumeType, volumeTypeId, multiattach, placement, sizeBytes } = admission;
  return {
    projectId,
    backend,
    volumeType,
    volumeTypeId,
    multiattach,
    placement,
    imageId: image.id,
    shortKey: admission.cacheKey.short,
    request: canonicalRequest(request, admission),
    sizeBytes,
    imageMetadata: imageMetadataOf(image, verifiedOf(deps, admission)),
    metadata: request.metadata ?? {},
    description: request.description,
    by: request.by,
    requestId: request.requestId,
    ...workflowExecution(),
    promise: await promiseLimitOf(deps, backend),
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

/** As Cinder says it of a volume: absent while signatures are not looked at. */
function verifiedOf({ signatures }: ControlDependencies, { cacheKey }: Checked['admission']): boolean | undefined {
  return signatures.version === undefined ? undefined : cacheKey.signature !== undefined;
}

/** The request as given, with what the defaults stood for: the same bytes mean the same request. */
function canonicalRequest(
  request: Checked['request'],
  { backend, volumeType, placement, projectId, imageId }: Checked['admission'],
): Record<string, unknown> {
  return {
    // The same request stays the same though its follow has moved on.
    imageId: followNameOf(request.imageId) === undefined ? imageId : request.imageId,
    // And though another backend would be chosen by now.
    backend: placement === undefined ? backend : ANY_BACKEND,
    ...(volumeType !== undefined && { volumeType }),
    projectId,
    name: request.name ?? null,
    sizeBytes: request.sizeBytes ?? null,
    metadata: request.metadata ?? {},
    ...(request.description !== undefined && { description: request.description }),
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

/** Ends the admission of one volume that has failed. @returns what it is told to have failed of. */
export async function endAdmission(
  deps: ControlDependencies,
  { input, error, ...known }: Omit<Parameters<typeof admitUnplaced>[1], 'failure'> & { input: unknown; error: unknown },
): Promise<unknown> {
  // A failure that may pass is no refusal yet.
  if (!(error instanceof Failure && error.isFinal)) return error;
  const failure = await admitUnplaced(deps, { ...known, failure: error });
  const { volumeId } = known;
  await endRefused(deps, { input, volumeIds: volumeId === undefined ? [] : [volumeId], failure });
  return failure;
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
    by: given('by'),
    requestId: given('requestId'),
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
