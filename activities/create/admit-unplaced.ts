import { findVolumeType } from '../../db/volume-types';
import { isFailure, type Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { CreatePlainVolumeInput, CreateVolumeInput } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { chooseProject } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { insertOrTakeOver, refusalOf } from './insert-row';

type Request = (CreateVolumeInput | CreatePlainVolumeInput) & { imageId?: string };

/**
 * Inserts the row of a volume for which no backend fits, where the request wants one; the run that ends with the refusal ends it in `error`.
 * Idempotent for one run.
 * @returns why it is refused: `failure`, or what is in the way of the row.
 */
export async function admitUnplaced(
  deps: ControlDependencies,
  { request, volumeId, failure }: { request: Request | undefined; volumeId: VolumeId | undefined; failure: Failure },
): Promise<Failure> {
  if (!isFailure(failure, 'NoBackendFits') || volumeId === undefined || request?.acceptUnplaced !== true)
    return failure;
  const { name = null, sizeBytes = null, metadata = {}, description, imageId, by, requestId } = request;
  const projectId = chooseProject(deps, request.projectId);
  // It lies nowhere, and a row names a backend.
  const backend = (deps.config.defaultBackend ?? Object.keys(deps.config.backends)[0]) as BackendName;
  const { volumeType } = failure.details;
  const type = await findVolumeType(deps.database, volumeType);
  const inserted = await insertOrTakeOver(deps, {
    volumeId,
    projectId,
    backend,
    name,
    imageId: null,
    shortKey: null,
    request: { imageId: imageId ?? null, volumeType, projectId, name, sizeBytes, metadata },
    sizeBytes,
    imageMetadata: {},
    metadata,
    description,
    volumeType: type?.name,
    volumeTypeId: type?.id,
    by,
    requestId,
    ...workflowExecution(),
  });
  if (inserted.kind === 'admitted' || inserted.kind === 'available') return failure;
  return refusalOf(inserted, { volumeId, admission: { backend, projectId } });
}
