import type { EntryId } from '../../workflows/contract/ids';
import type { ImageVolumeCache } from '../connection';
import { ImageVolumeCacheError } from '../errors';

/** @throws ImageVolumeCacheError `EntryNotFound` */
export async function backendOfEntry(cache: ImageVolumeCache, entryId: string): Promise<string> {
  const entry = await (await cache.inventory()).findEntry(entryId as EntryId);
  if (entry === undefined) throw entryNotFound(entryId);
  return entry.backend;
}

export function entryNotFound(entryId: string): ImageVolumeCacheError {
  return new ImageVolumeCacheError({
    type: 'EntryNotFound',
    message: `entryId: there is no cache entry ${entryId}`,
    details: { entryId },
  });
}
