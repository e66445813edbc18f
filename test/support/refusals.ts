import type { FailureType } from '../../workflows/contract/failures';

/** Failures that are raised before anything is made, so that there is no row; after every other one what was made is undone. */
export const refusals: readonly FailureType[] = [
  'InvalidRequest',
  'Conflict',
  'QuotaExceeded',
  'VolumeNotFound',
  'VolumeDeleted',
  'VolumeInUse',
  'AttachmentNotFound',
  'AttachmentInUse',
  'SnapshotNotFound',
  'TransferNotFound',
  'SnapshotConflict',
  'VolumeHasSnapshots',
  'VolumeNotReady',
  'ImageNotFound',
  'FollowNotFound',
  'VolumeTypeNotFound',
  'NoBackendFits',
  'MessageNotFound',
  'BackendNotFound',
  'ImageNotActive',
  'ImageUnsupported',
];
