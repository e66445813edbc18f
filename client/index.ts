/** The client library: everything that programs may rely on. */
export { connectClient, openClient, type ImageVolumeCache } from './connection';
export { clientFailures, ImageVolumeCacheError, type ClientFailureType, type ErrorType } from './errors';
export {
  evict,
  evictionStatus,
  forgetRefusal,
  pauseEviction,
  pin,
  resumeEviction,
  setLimits,
  sweep,
  unpin,
  type AnsweredByEvictor,
  type EvictorOptions,
  type SentToEvictor,
} from './eviction';
export type { ImageCatalog } from './images';
export type { DecisionFilter, EntryFilter, Inventory, VolumeFilter } from './inventory';
export { listFlights, type CreateReport, type Flight } from './progress';
export type {
  BackendStatus,
  CacheEntry,
  CacheEntryState,
  Decision,
  DecisionSummary,
  Follow,
  Refusal,
  Volume,
} from './records';
export type {
  Report,
  ReportBucket,
  ReportEntryLeft,
  ReportFilter,
  ReportImage,
  ReportMiss,
  ReportStage,
  ReportTotals,
} from './report';
export { reconcile } from './reconcile';
export {
  followImage,
  listFollows,
  refreshCache,
  unfollowImage,
  warmCache,
  type WarmOptions,
  type WarmReport,
} from './refresh';
export type { RunOptions, StartedRun } from './run-workflow';
export type { ConnectOptions, Settings } from './settings';
export {
  createVolume,
  createVolumes,
  deleteVolume,
  getVolume,
  listVolumes,
  type CreatedVolume,
  type CreateVolumesRequest,
  type StartedVolume,
  type WaitOptions,
} from './volumes';
export { failures, type FailureType } from '../workflows/contract/failures';
export type {
  CacheLimitValues,
  EvictionPlan,
  EvictionResult,
  EvictionStatus,
  EvictSignal,
  PinTarget,
} from '../workflows/contract/eviction';
export type { Image } from '../workflows/contract/image';
export type {
  FollowInput,
  FollowOutcome,
  RefreshInput,
  RefreshResult,
  UnfollowInput,
  UnfollowResult,
  WarmInput,
  WarmOutcome,
  WarmResult,
} from '../workflows/contract/refresh';
export type {
  Connection,
  CreateVolumeInput,
  CreateVolumeResult,
  CreateVolumesInput,
  CreateVolumesResult,
  DeleteVolumeResult,
  FailedVolume,
  MadeVolume,
  Outcome,
  VolumeState,
} from '../workflows/contract/volume';
export type { Finding, FindingKind, ReconcileInput, ReconcileResult } from '../workflows/contract/reconcile';
