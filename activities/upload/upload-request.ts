import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { scopeOf, type ProjectScope } from '../../db/scope';
import type { VolumeRow } from '../../db/schema';
import { beginUpload, endUpload } from '../../db/held-uploads';
import { GiB } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern, type ImageId, type ProjectId, type VolumeId } from '../../workflows/contract/ids';
import {
  imageVisibilities,
  uploadDiskFormats,
  type UploadPlan,
  type UploadRecord,
  type UploadVolumeInput,
} from '../../workflows/contract/upload';
import type { ControlDependencies } from '../dependencies';
import { getAvailableVolume } from '../kit/available-volume';
import { boundedText, callerSchema, parseRequest, projectId, storableText, uuid } from '../kit/request';
import { isRunning, workflowExecution } from '../kit/runs';
import { uploadSnapshotId } from '../kit/uploaded-image';

/** Namespace of the image ids that are derived from workflow ids (RFC 9562, version 5). */
const IMAGE_ID_NAMESPACE = '5f0e8f5d-2f0b-4c0e-9d5b-0f6c7c1a6e52';
/** As Glance's image schema has them. */
const MAX_NAME_CHARACTERS = 255;
const MAX_VALUE_CHARACTERS = 65_535;
const MAX_PROPERTIES = 128;

const requestSchema = z.strictObject({
  ...callerSchema,
  seedCache: z.boolean().optional(),
  volumeId: uuid.optional(),
  projectId: projectId.optional(),
  imageId: uuid.optional(),
  name: boundedText(MAX_NAME_CHARACTERS).optional(),
  diskFormat: z.enum(uploadDiskFormats, uploadDiskFormats.join(' or ')).optional(),
  containerFormat: z.literal('bare', 'bare').optional(),
  visibility: z.enum(imageVisibilities, imageVisibilities.join(', ')).optional(),
  isProtected: z.boolean().optional(),
  holdVolume: z.boolean().optional(),
  force: z.boolean().optional(),
  properties: z
    .record(boundedText(MAX_NAME_CHARACTERS), storableText(MAX_VALUE_CHARACTERS))
    .refine((properties) => Object.keys(properties).length <= MAX_PROPERTIES, `at most ${MAX_PROPERTIES} properties`)
    .refine(
      (properties) => Object.keys(properties).every((name) => !isReserved(name) && !coreProperties.has(name)),
      'properties of your own: neither fields of an image’s record, nor os_glance…, img_signature… or ivc_…',
    )
    .optional(),
});

/**
 * @returns what is to be uploaded, and as what: by the request and the volume's row, which is held where that is asked for. Idempotent. Undo:
 *   `endUploadHold`.
 * @throws InvalidRequest naming the first field that is wrong, VolumeNotFound, VolumeDeleted, VolumeNotReady (final).
 */
export function createPlanUpload(deps: ControlDependencies) {
  return async function planUpload(input: unknown): Promise<UploadPlan> {
    const { volumeId, imageId, request } = parseUpload(input, deps.queues.prefix);
    const scope = scopeOf(request.projectId as ProjectId | undefined);
    const volume = await getAvailableVolume(deps, { volumeId, scope });
    const { projectId: owner, backend, sizeBytes } = volume;
    const { by, requestId, seedCache = false, isProtected = false, holdVolume = false } = request;
    if (holdVolume) await hold(deps, { volumeId, imageId, scope, request });
    return {
      ...(holdVolume && { isHeld: true }),
      ...(isProtected && { isProtected }),
      by,
      requestId,
      volumeId,
      imageId,
      snapshotId: uploadSnapshotId(imageId),
      projectId: owner,
      backend,
      sizeBytes,
      seedCache,
      byPointer: mayPoint(deps, volume, request),
      record: recordOf(request, volume, sizeBytes),
    };
  };
}

async function hold(
  deps: ControlDependencies,
  { scope, volumeId, imageId, request: { force, by, requestId } }: ParsedUpload & { scope: ProjectScope },
): Promise<void> {
  const run = workflowExecution();
  const allowed = force === true ? [null, 'in-use' as const] : [null];
  const held = await beginUpload(deps.database, {
    volumeId,
    imageId,
    scope,
    allowed,
    source: { by, requestId, ...run },
  });
  if (held.kind === 'absent') throw new Failure('VolumeNotFound', { volumeId });
  if (held.kind === 'not-available') {
    const words = allowed.map((status) => status ?? 'available').join(' or ');
    throw new Failure('VolumeNotReady', { volumeId, state: held.state, allowed: words });
  }
  // A try that was given up and comes late may find its run ended: nobody else would end the hold then.
  if (!(await isRunning(deps, run))) await endUpload(deps.database, { held: run, source: run });
}

/** A pointer needs the guest's bytes as they are: the image service reads them itself. */
export function mayPoint(
  { config }: ControlDependencies,
  { backend }: Pick<VolumeRow, 'backend'>,
  { diskFormat = 'raw' }: Pick<UploadVolumeInput, 'diskFormat'>,
): boolean {
  const found = config.backends[backend];
  return diskFormat === 'raw' && found?.driver === 'rbd' && found.imageStore.clone && found.imageStore.pointers;
}

interface ParsedUpload {
  volumeId: VolumeId;
  imageId: ImageId;
  request: UploadVolumeInput;
}

/** A public image is an operator's to make, as Cinder's policy `upload_public` has it. @throws InvalidRequest (final). */
export function checkVisibility({ visibility, projectId: caller }: { visibility?: string; projectId?: string }): void {
  if (visibility !== 'public' || caller === undefined) return;
  const allowed = 'another; public is for an operator, who names no project';
  throw new Failure('InvalidRequest', { field: 'visibility', value: visibility, allowed });
}

/** A workflow id `upload/<volumeId>/<imageId>`, with the stack's prefix or without, gives both ids; the input must agree. */
function parseUpload(input: unknown, prefix: string): ParsedUpload {
  const request = parseRequest(requestSchema, input);
  checkVisibility(request);
  const { workflowId } = workflowExecution();
  const ofStack = workflowId.startsWith(prefix) ? workflowId.slice(prefix.length) : workflowId;
  const [, volumeOfId, imageOfId] = /^upload\/([^/]+)\/([^/]+)(?:\/[^/]+)?$/.exec(ofStack) ?? [];
  const volumeId = agreed('volumeId', request.volumeId, volumeOfId);
  const imageId = agreed('imageId', request.imageId, imageOfId) ?? uuidV5(workflowId, IMAGE_ID_NAMESPACE);
  if (volumeId === undefined)
    throw new Failure('InvalidRequest', { field: 'volumeId', value: 'nothing', allowed: 'a UUID in lower case' });
  return { volumeId: volumeId as VolumeId, imageId: imageId as ImageId, request };
}

function agreed(field: string, given: string | undefined, ofId: string | undefined): string | undefined {
  if (ofId === undefined || !uuidPattern.test(ofId)) return given;
  if (given === undefined || given === ofId) return ofId;
  throw new Failure('InvalidRequest', { field, value: given, allowed: `${ofId}, the one in the workflow's id` });
}

/**
 * Of a volume's image metadata these are the record of its own image: Cinder's `glance_core_properties`. The others go with the volume into the image
 * that is made of it, as with Cinder.
 */
const coreProperties = new Set([
  'checksum',
  'container_format',
  'disk_format',
  'image_id',
  'image_name',
  'min_disk',
  'min_ram',
  'name',
  'size',
]);
/** A signature is of the bytes of the image that has it; properties of ours are written anew. */
const reservedPrefixes = ['os_glance', 'img_signature', 'signature_verified', 'ivc_'];

function isReserved(name: string): boolean {
  return reservedPrefixes.some((prefix) => name.startsWith(prefix));
}

/** The image's record, with what it has of the volume. */
export function recordOf(
  { name, diskFormat = 'raw', containerFormat = 'bare', visibility = 'private', properties }: UploadVolumeInput,
  volume: Pick<VolumeRow, 'id' | 'name' | 'imageMetadata'>,
  sizeBytes: number,
): UploadRecord {
  const { imageMetadata } = volume;
  const inherited = Object.entries(imageMetadata).filter(([key]) => !coreProperties.has(key) && !isReserved(key));
  return {
    name: name ?? volume.name ?? `volume-${volume.id}`,
    diskFormat,
    containerFormat,
    visibility,
    minDiskGiB: Math.ceil(sizeBytes / GiB),
    minRamMiB: Number(imageMetadata['min_ram'] ?? 0) || 0,
    properties: { ...Object.fromEntries(inherited), ...properties },
  };
}
