import type { EntryId, SnapshotId, TransferId, VolumeId } from '../workflows/contract/ids';
import { listed, quote } from '../workflows/contract/words';
import type { ImageVolumeCache } from './connection';
import { failureError, ImageVolumeCacheError } from './errors';
import type { EntryFilter, OfProject, SnapshotFilter, TransferFilter, VolumeFilter } from './inventory';
import { checkUuid } from './object-ids';
import type { CacheEntry, Follow, ImageVolume, ProjectQuotas, Snapshot, Transfer, Volume } from './records';

/* Functions that only read the inventory: nothing of Temporal is loaded for them. */

/**
 * @returns a volume's record. @throws ImageVolumeCacheError `VolumeNotFound`, `DatabaseUnavailable`, `NotConfigured`
 */
export async function getVolume(cache: ImageVolumeCache, volumeId: string, options: OfProject = {}): Promise<Volume> {
  const id = checkUuid('volumeId', volumeId) as VolumeId;
  const volume = await (await cache.inventory()).findVolume(id, options);
  if (volume === undefined) throw failureError('VolumeNotFound', { volumeId: id });
  return volume;
}

/** @returns volumes, the newest first. @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured` */
export async function listVolumes(cache: ImageVolumeCache, filter: VolumeFilter = {}): Promise<Volume[]> {
  return await (await cache.inventory()).listVolumes(filter);
}

/**
 * @returns the parents of clones, the newest first, as volumes of the internal tenant: for operators.
 * @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured`
 */
export async function listImageVolumes(cache: ImageVolumeCache, filter: EntryFilter = {}): Promise<ImageVolume[]> {
  return await (await cache.inventory()).listImageVolumes(filter);
}

/** @returns a snapshot's record. @throws ImageVolumeCacheError `SnapshotNotFound`, `DatabaseUnavailable`, `NotConfigured` */
export async function getSnapshot(
  cache: ImageVolumeCache,
  snapshotId: string,
  options: OfProject = {},
): Promise<Snapshot> {
  const id = checkUuid('snapshotId', snapshotId) as SnapshotId;
  const snapshot = await (await cache.inventory()).findSnapshot(id, options);
  if (snapshot === undefined) throw failureError('SnapshotNotFound', { snapshotId: id });
  return snapshot;
}

/** @returns snapshots, the newest first. @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured` */
export async function listSnapshots(cache: ImageVolumeCache, filter: SnapshotFilter = {}): Promise<Snapshot[]> {
  return await (await cache.inventory()).listSnapshots(filter);
}

/** @returns an offer of a volume. @throws ImageVolumeCacheError `TransferNotFound`, `DatabaseUnavailable`, `NotConfigured` */
export async function getTransfer(
  cache: ImageVolumeCache,
  transferId: string,
  options: OfProject = {},
): Promise<Transfer> {
  const id = checkUuid('transferId', transferId) as TransferId;
  const transfer = await (await cache.inventory()).findTransfer(id, options);
  if (transfer === undefined) throw failureError('TransferNotFound', { transferId: id });
  return transfer;
}

/** @returns offers of volumes, the oldest first. @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured` */
export async function listTransfers(cache: ImageVolumeCache, filter: TransferFilter = {}): Promise<Transfer[]> {
  return await (await cache.inventory()).listTransfers(filter);
}

/** @returns the limits of a project and what it uses of them. @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured` */
export async function getQuotas(cache: ImageVolumeCache, projectId: string): Promise<ProjectQuotas> {
  const [found] = await (await cache.inventory()).listQuotas({ projectId });
  if (found === undefined) throw new Error(`no quotas were read of project ${projectId}`);
  return found;
}

/**
 * @returns those of all projects that have volumes, or quotas of their own, by their ids.
 * @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured`
 */
export async function listQuotas(
  cache: ImageVolumeCache,
  filter: { limit?: number; after?: string } = {},
): Promise<ProjectQuotas[]> {
  return await (await cache.inventory()).listQuotas(filter);
}

/**
 * @returns follows in the order of backends and names. @throws ImageVolumeCacheError `DatabaseUnavailable`,
 * `NotConfigured`
 */
export async function listFollows(cache: ImageVolumeCache, filter: { backend?: string } = {}): Promise<Follow[]> {
  return await (await cache.inventory()).listFollows(filter);
}

/** @throws ImageVolumeCacheError `EntryNotFound` */
export async function getEntry(cache: ImageVolumeCache, entryId: string): Promise<CacheEntry> {
  const entry = await (await cache.inventory()).findEntry(entryId as EntryId);
  if (entry !== undefined) return entry;
  const message = `entryId: there is no cache entry ${entryId}`;
  throw new ImageVolumeCacheError({ type: 'EntryNotFound', message, details: { entryId } });
}

/**
 * @throws ImageVolumeCacheError `BackendNotFound` with those that there are, for what is neither configured nor was ever registered; without an
 * inventory it is left to the workers.
 */
export async function expectBackend(cache: ImageVolumeCache, backend: string | undefined): Promise<void> {
  const configured = Object.keys(cache.settings.loaded.config.backends);
  if (backend === undefined || configured.includes(backend) || cache.settings.databaseUrl === undefined) return;
  const registered = (await (await cache.inventory()).listBackends()).map(({ backend: name }) => name as string);
  if (registered.includes(backend)) return;
  const known = listed([...new Set([...configured, ...registered])]);
  throw failureError('BackendNotFound', { backend: quote(backend), known });
}
