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
export { listFlights, type Flight } from './flights';
export { followImage, listFollows, unfollowImage } from './follows';
export type { ImageCatalog } from './images';
export type { DecisionFilter, EntryFilter, Inventory, VolumeFilter } from './inventory';
export type { CreateReport } from './progress';
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
export { refreshCache } from './refresh';
export type { RunOptions, StartedRun } from './run-workflow';
export { warmCache, type WarmOptions, type WarmReport } from './warming';
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
  DeleteVolumeResult,
  Outcome,
  VolumeState,
} from '../workflows/contract/volume';
export type { Finding, FindingKind, ReconcileInput, ReconcileResult } from '../workflows/contract/reconcile';
