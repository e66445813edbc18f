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
export type {
  DecisionFilter,
  EntryFilter,
  EventFilter,
  Inventory,
  OfProject,
  SnapshotFilter,
  VolumeFilter,
} from './inventory';
export { listFlights, type CreateReport, type Flight } from './progress';
export type {
  AuditEvent,
  BackendStatus,
  CacheEntry,
  CacheEntryState,
  Decision,
  DecisionSummary,
  Follow,
  ImageVolume,
  ProjectQuota,
  ProjectQuotas,
  Refusal,
  Snapshot,
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
export { setQuotas } from './quotas';
export {
  getEntry,
  getQuotas,
  getSnapshot,
  getVolume,
  listFollows,
  listImageVolumes,
  listQuotas,
  listSnapshots,
  listVolumes,
} from './reads';
export { reconcile } from './reconcile';
export {
  importFromCinder,
  revertImport,
  type CinderImportOptions,
  type CinderImportReport,
  type CinderImportRequest,
} from './cinder-imports';
export type { ImportFinding, RevertImportInput, RevertImportResult } from '../workflows/contract/cinder-import';
export { followImage, refreshCache, unfollowImage, warmCache, type WarmOptions, type WarmReport } from './refresh';
export { shareSnapshot, unshareSnapshot } from './share-snapshots';
export { createSnapshot, deleteSnapshot } from './snapshots';
export type { RunOptions, StartedRun } from './run-workflow';
export type { ConnectOptions, Settings } from './settings';
export { seedCache, uploadVolume, type StartedUpload, type VolumeUploadOptions, type UploadRequest } from './uploads';
export {
  createVolume,
  createVolumes,
  changeVolume,
  extendVolume,
  reimageVolume,
  deleteVolume,
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
  CreatePlainVolumeInput,
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
export type { QuotaName, Quotas, SetQuotasInput, SetQuotasResult } from '../workflows/contract/quotas';
export type {
  CreateSnapshotInput,
  CreateSnapshotResult,
  DeleteSnapshotResult,
  SnapshotState,
} from '../workflows/contract/snapshot';
export type {
  ShareSnapshotInput,
  ShareSnapshotResult,
  ShareVisibility,
  UnshareSnapshotInput,
  UnshareSnapshotResult,
} from '../workflows/contract/share';
export type { Finding, FindingKind, ReconcileInput, ReconcileResult } from '../workflows/contract/reconcile';
export type {
  ImageVisibility,
  SeedInput,
  SeedOutcome,
  SeedResult,
  UploadDiskFormat,
  UploadVolumeInput,
  UploadVolumeResult,
} from '../workflows/contract/upload';
