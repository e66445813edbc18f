/** The client library: everything that programs may rely on. */
export { connectClient, openClient, type ImageVolumeCache } from './connection';
export { clientFailures, ImageVolumeCacheError, type ClientFailureType, type ErrorType } from './errors';
export { listFlights, type Flight } from './flights';
export type { ImageCatalog } from './images';
export type { DecisionFilter, EntryFilter, Inventory, VolumeFilter } from './inventory';
export type { CreateReport } from './progress';
export type { BackendStatus, CacheEntry, CacheEntryState, Decision, DecisionSummary, Volume } from './records';
export type { ConnectOptions, Settings } from './settings';
export {
  createVolume,
  deleteVolume,
  getVolume,
  listVolumes,
  type CreatedVolume,
  type StartedVolume,
  type WaitOptions,
} from './volumes';
export { failures, type FailureType } from '../workflows/contract/failures';
export type { Image } from '../workflows/contract/image';
export type {
  Connection,
  CreateVolumeInput,
  CreateVolumeResult,
  DeleteVolumeResult,
  Outcome,
  VolumeState,
} from '../workflows/contract/volume';
