import { resolveFollow } from '../../db/follows/follows';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import { followNamePattern, followPrefix } from '../../workflows/contract/refresh';
import type { ControlDependencies } from '../dependencies';

/** @returns the name in `follow:<name>`; undefined for anything else. */
export function followNameOf(imageId: string): string | undefined {
  if (!imageId.startsWith(followPrefix)) return undefined;
  const name = imageId.slice(followPrefix.length);
  return followNamePattern.test(name) ? name : undefined;
}

/**
 * @returns the image that a create means: the one it names, or what its follow has ready. A volume that was admitted from a follow keeps its image.
 * @throws FollowNotFound (final); DatabaseUnavailable (retried).
 */
export async function resolveImageId(
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
