import type { ImageVolumeCache } from '../connection';
import { ImageVolumeCacheError, type ErrorType } from '../errors';
import { listed } from '../../workflows/contract/words';
import { projectOf, type ProjectOptions } from './project';
import { shortIdsIn } from './output/short-ids';

/*
 * The answer to a name or an id that there is not: exit code 3, and those that are known, as they can be typed. The
 * library's failures do not know them: only who asks may see what a project has.
 */

/** One more is read than are counted. */
const MOST_COUNTED = 100;

/** @returns what can be typed: names, or ids. */
type Reader = (cache: ImageVolumeCache, options: ProjectOptions) => Promise<string[]>;

const readers: Partial<Record<ErrorType, Reader>> = {
  VolumeNotFound: async (cache, options) =>
    (await (await cache.inventory()).listVolumes(pageOf(cache, options))).map(({ name, volumeId }) => name ?? volumeId),
  SnapshotNotFound: async (cache, options) =>
    (await (await cache.inventory()).listSnapshots(pageOf(cache, options))).map(
      ({ name, snapshotId }) => name ?? snapshotId,
    ),
  EntryNotFound: async (cache) =>
    (await (await cache.inventory()).listEntries({ limit: MOST_COUNTED + 1 })).map(({ entryId }) => entryId),
  ImageNotFound: async (cache) =>
    (await (await cache.images()).listImages({ limit: MOST_COUNTED + 1 })).images.map(({ name, id }) => name ?? id),
  FollowNotFound: async (cache) =>
    (await (await cache.inventory()).listFollows({ limit: MOST_COUNTED + 1 })).map(({ name }) => name),
  VolumeTypeNotFound: async (cache) => [
    ...Object.keys(cache.settings.loaded.config.volumeTypes),
    ...(await (await cache.inventory()).listVolumeTypes()).map(({ name }) => name),
  ],
};

/** Those of the project that is asked for, or that a create without one has. */
function pageOf(cache: ImageVolumeCache, options: ProjectOptions): { projectId?: string; limit: number } {
  return { projectId: projectOf(cache.settings, options), limit: MOST_COUNTED + 1 };
}

/** @returns an error about what there is not, with those that are known; any other one as it is. */
export async function withKnown(
  thrown: unknown,
  { cache, options }: { cache: ImageVolumeCache; options: ProjectOptions },
): Promise<unknown> {
  if (!(thrown instanceof ImageVolumeCacheError) || 'known' in thrown.details) return thrown;
  const read = readers[thrown.type];
  if (read === undefined || !isUnknown(thrown)) return thrown;
  // It only helps: where the list cannot be had, the answer stands without it.
  const names = await read(cache, options).catch(() => undefined);
  if (names === undefined) return thrown;
  const short = shortIdsIn(names);
  const known = listed([...new Set(names.map(short))], { isMore: names.length > MOST_COUNTED });
  const { type, message, details, workflowId, cause } = thrown;
  return new ImageVolumeCacheError({
    type,
    message: `${message}; known: ${known}`,
    details: { ...details, known },
    workflowId,
    cause,
  });
}

/** A follow that has found no image yet is known. */
function isUnknown({ type, details }: ImageVolumeCacheError): boolean {
  return type !== 'FollowNotFound' || details['found'] === 'unknown';
}
