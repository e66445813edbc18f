import { cancellationSignal } from '@temporalio/activity';
import { resolveFollow } from '../../db/follows/follows';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { ControlDependencies } from '../dependencies';
import { readImageFor } from '../kit/read-image-for';
import { followNameOf } from './create-volume-request';

interface Meant {
  given: string;
  /** Of a follow. */
  backend: BackendName | undefined;
  volumeId: VolumeId;
}

/**
 * Reads the record of the image that a create means, on every create: access to an image can change without any timestamp moving.
 * @throws ImageNotFound, FollowNotFound, as for what is not there where the project may not see it (final); ImageServiceUnavailable, DatabaseUnavailable (retried).
 */
export async function readRequestedImage(
  deps: ControlDependencies,
  { projectId, ...meant }: Meant & { projectId: ProjectId },
): Promise<Image> {
  const imageId = await resolveImageId(deps, meant);
  try {
    return await readImageFor(deps, { imageId, projectId, signal: cancellationSignal() });
  } catch (error) {
    const follow = followNameOf(meant.given);
    // Which image it has found is not for a project that may not see it.
    if (follow !== undefined && deps.config.identity !== undefined && isFailure(error, 'ImageNotFound'))
      throw new Failure('FollowNotFound', { follow, backend: meant.backend ?? '', found: 'unknown' });
    throw error;
  }
}

/**
 * @returns the image that a create means: the one it names, or what its follow has ready. A volume that was admitted
 * from a follow keeps its image.
 * @throws FollowNotFound (final); DatabaseUnavailable (retried).
 */
async function resolveImageId({ database }: ControlDependencies, { given, backend, volumeId }: Meant): Promise<string> {
  const name = followNameOf(given);
  if (name === undefined || backend === undefined) return given;
  const resolved = await resolveFollow(database, { backend, name, volumeId });
  if (resolved.kind === 'image') return resolved.imageId;
  const found = resolved.kind === 'unknown' ? 'unknown' : 'without an image';
  throw new Failure('FollowNotFound', { follow: name, backend, found });
}
