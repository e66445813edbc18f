import type { FailureDetails } from '../../workflows/contract/failures';

/** Shown by no public message. */
export const FOR_OPERATORS = 'for operators';

/** One failure of every kind: a type that is added to the table has to be added here. */
export const failureExamples: FailureDetails = {
  InvalidRequest: { field: 'sizeBytes', value: '5', allowed: 'a multiple of 512' },
  Conflict: { volumeId: 'v', found: 'another request' },
  VolumeNotFound: { volumeId: 'v' },
  VolumeDeleted: { volumeId: 'v' },
  VolumeInUse: { volumeId: 'v', by: 'a QEMU process' },
  VolumeBusy: { volumeId: 'v', workflowId: 'my-create' },
  CreateCancelled: { volumeId: 'v' },
  ImageNotFound: { imageId: 'i' },
  FollowNotFound: { follow: 'f', backend: 'b', found: 'unknown' },
  ImageNotActive: { imageId: 'i', status: 'queued' },
  ImageUnsupported: { imageId: 'i', found: 'ploop', allowed: 'raw' },
  ImageRefused: { imageId: 'i', rule: 'backing-file', found: 'one', allowed: 'none', offset: 8 },
  ImageChanged: { imageId: 'i', found: 'a', allowed: 'b' },
  TransferCorrupt: { imageId: 'i', found: 'a', allowed: 'b' },
  CacheKeyCollision: { shortKey: 'k' },
  NoSpace: { backend: 'local', neededBytes: 2, freeBytes: 1 },
  NotCached: { imageId: 'i', backend: 'local', reason: 'the cache is full' },
  CloneLimitReached: { backend: 'local', parent: 'p', limit: 3 },
  ParentUnusable: { backend: 'local', parent: 'p', found: 'absent' },
  BudgetSpent: { volumeId: 'v', budgetMs: 4000, last: 'no answer' },
  ForeignObject: { backend: 'local', object: 'o' },
  ForeignRun: { workflowId: 'evict/local', found: 'a-image-volume-cache', allowed: 'image-volume-cache' },
  ToolFailed: { tool: 'qemu-img', exit: 'code 1', stderr: FOR_OPERATORS },
  ScratchFull: { host: 'h', neededBytes: 2, freeBytes: 1 },
  ScratchUnavailable: { host: 'h', cause: 'c' },
  ScratchTooSmall: { host: 'h', neededBytes: 2, capacityBytes: 1 },
  HostLost: { host: 'h' },
  FlightClosing: { flight: 'populate/local/k' },
  StillRunning: { workflowId: 'volume/v' },
  ImageServiceUnavailable: { service: 'http://glance:9292', cause: FOR_OPERATORS },
  IdentityUnavailable: { service: 'http://keystone:5000/v3', cause: FOR_OPERATORS },
  CredentialsRefused: { service: 'http://keystone:5000/v3', account: FOR_OPERATORS, cause: FOR_OPERATORS },
  BackendUnavailable: { backend: 'local', cause: FOR_OPERATORS },
  DatabaseUnavailable: { cause: FOR_OPERATORS },
  DatabaseRefused: { sqlState: '22P05', cause: FOR_OPERATORS },
  Internal: { cause: 'cloneVolume' },
};
