import type { BackendName, HostId, ImageId, SnapshotId, TransferId, VolumeId } from './ids';

/** Workflow types, as clients name them. */
export const workflowTypes = {
  createVolumeFromImage: 'CreateVolumeFromImage',
  createVolumesFromImage: 'CreateVolumesFromImage',
  createVolume: 'CreateVolume',
  populateImageCache: 'PopulateImageCache',
  deleteVolume: 'DeleteVolume',
  changeVolume: 'ChangeVolume',
  changeAttachment: 'ChangeAttachment',
  extendVolume: 'ExtendVolume',
  reimageVolume: 'ReimageVolume',
  createSnapshot: 'CreateSnapshot',
  deleteSnapshot: 'DeleteSnapshot',
  changeSnapshot: 'ChangeSnapshot',
  createTransfer: 'CreateTransfer',
  acceptTransfer: 'AcceptTransfer',
  deleteTransfer: 'DeleteTransfer',
  deleteMessage: 'DeleteMessage',
  shareSnapshot: 'ShareSnapshot',
  unshareSnapshot: 'UnshareSnapshot',
  evictImageCache: 'EvictImageCache',
  warmImageCache: 'WarmImageCache',
  refreshImageCache: 'RefreshImageCache',
  followImage: 'FollowImage',
  unfollowImage: 'UnfollowImage',
  reconcileBackend: 'ReconcileBackend',
  uploadVolumeToImage: 'UploadVolumeToImage',
  setQuotas: 'SetQuotas',
  changeVolumeType: 'ChangeVolumeType',
  seedImageCache: 'SeedImageCache',
  importFromCinder: 'ImportFromCinder',
  revertImport: 'RevertImport',
} as const;

/**
 * Workflow ids are sentences: they are what the Temporal UI's list shows. Those of one stack have its prefix, as its
 * queues do, so that stacks which share a namespace do not signal, join or end each other's runs.
 */
function workflowIds(prefix: string) {
  return {
    createVolume: (volumeId: VolumeId): string => `${prefix}volume/${volumeId}`,
    /** @param request a UUID: the ids of the run's volumes follow from it. */
    createVolumes: (request: string): string => `${prefix}volumes/${request}`,
    populate: (backend: BackendName, shortKey: string): string => `${prefix}populate/${backend}/${shortKey}`,
    /** @param projectId whose caller it is: nobody joins, or is kept waiting by, a run that another project has begun. */
    deleteVolume: (volumeId: VolumeId, projectId?: string): string =>
      `${prefix}delete/${volumeId}${ofProject(projectId)}`,
    /** @param projectId as for a delete. */
    upload: (volumeId: VolumeId, imageId: ImageId, projectId?: string): string =>
      `${prefix}upload/${volumeId}/${imageId}${ofProject(projectId)}`,
    /** @param request a UUID: changes of one volume do not wait for each other. */
    changeVolume: (volumeId: VolumeId, request: string): string => `${prefix}change/${volumeId}/${request}`,
    /** @param request as for a change. */
    changeAttachment: (volumeId: VolumeId, request: string): string => `${prefix}attachment/${volumeId}/${request}`,
    seed: (volumeId: VolumeId, imageId: ImageId): string => `${prefix}seed/${volumeId}/${imageId}`,
    /** @param projectId as for a delete. */
    extendVolume: (volumeId: VolumeId, sizeBytes: number, projectId?: string): string =>
      `${prefix}extend/${volumeId}/${sizeBytes}${ofProject(projectId)}`,
    /** @param projectId as for a delete. */
    reimageVolume: (volumeId: VolumeId, imageId: string, projectId?: string): string =>
      `${prefix}reimage/${volumeId}/${encodeURIComponent(imageId)}${ofProject(projectId)}`,
    createSnapshot: (snapshotId: SnapshotId): string => `${prefix}snapshot/${snapshotId}`,
    deleteSnapshot: (snapshotId: SnapshotId, projectId?: string): string =>
      `${prefix}delete-snapshot/${snapshotId}${ofProject(projectId)}`,
    /** @param request a UUID, as for a volume. */
    changeSnapshot: (snapshotId: SnapshotId, request: string): string =>
      `${prefix}change-snapshot/${snapshotId}/${request}`,
    createTransfer: (transferId: TransferId): string => `${prefix}transfer/${transferId}`,
    /** @param request a UUID: one who has a wrong key keeps nobody waiting. */
    acceptTransfer: (transferId: TransferId, request: string): string =>
      `${prefix}accept-transfer/${transferId}/${request}`,
    /** @param projectId as for a delete of a volume. */
    deleteTransfer: (transferId: TransferId, projectId?: string): string =>
      `${prefix}delete-transfer/${transferId}${ofProject(projectId)}`,
    /** @param projectId as for a delete of a volume. */
    deleteMessage: (messageId: string, projectId?: string): string =>
      `${prefix}delete-message/${messageId}${ofProject(projectId)}`,
    /** @param request a UUID: one caller's request does not join another's. */
    shareSnapshot: (snapshotId: SnapshotId, request: string): string => `${prefix}share/${snapshotId}/${request}`,
    unshareSnapshot: (snapshotId: SnapshotId, request: string): string => `${prefix}unshare/${snapshotId}/${request}`,
    /** @param request a UUID, and the number of the part. */
    importFromCinder: (backend: BackendName, request: string, part: number): string =>
      `${prefix}import/${backend}/${request}/${part}`,
    /** One at a time. */
    revertImport: (backend: BackendName): string => `${prefix}revert-import/${backend}`,
    evict: (backend: BackendName): string => `${prefix}evict/${backend}`,
    /** @param request a UUID: one run warms all that it names. */
    warm: (request: string): string => `${prefix}warm/${request}`,
    /** One id for both: the last request holds. */
    follow: (backend: BackendName, name: string): string => `${prefix}follow/${backend}/${name}`,
    /** @param request a UUID: as for a volume. */
    changeVolumeType: (volumeTypeId: string, request: string): string =>
      `${prefix}volume-type/${volumeTypeId}/${request}`,
    /** @param request a UUID: one caller's request is not given up for another's. */
    quotas: (projectId: string, request: string): string =>
      `${prefix}quotas/${encodeURIComponent(projectId)}/${request}`,
    /** Of a schedule too. */
    reconcile: (backend: BackendName): string => `${prefix}reconcile/${backend}`,
    /** Of the one refresh of a stack, and of its schedule: it is not bound to a backend. */
    refresh: `${prefix}refresh-image-cache`,
  };
}

function ofProject(projectId: string | undefined): string {
  return projectId === undefined ? '' : `/${encodeURIComponent(projectId)}`;
}

/** The task queue of workflows, inventory and image-metadata activities. */
export const CONTROL_QUEUE = 'image-volume-cache';

/**
 * Task queues and workflow ids of one stack. All of a stack share one prefix (empty in production), so that several
 * stacks, such as a test's, can share a namespace.
 */
export function taskQueues(prefix = '') {
  return {
    control: `${prefix}${CONTROL_QUEUE}`,
    backend: (backend: BackendName): string => `${prefix}backend-${backend}`,
    host: (host: HostId): string => `${prefix}host-${host}`,
    prefix,
    ids: workflowIds(prefix),
  };
}

/** @returns the queues and ids of the stack that a workflow on `controlQueue` belongs to. */
export function siblingQueues(controlQueue: string): ReturnType<typeof taskQueues> {
  return taskQueues(controlQueue.endsWith(CONTROL_QUEUE) ? controlQueue.slice(0, -CONTROL_QUEUE.length) : '');
}

/** Search attributes, in the shape of the SDK's typed keys. A namespace without them still works. */
export const searchAttributes = {
  backend: { name: 'Backend', type: 'KEYWORD' },
  imageId: { name: 'ImageId', type: 'KEYWORD' },
  cacheKey: { name: 'CacheKey', type: 'KEYWORD' },
  outcome: { name: 'Outcome', type: 'KEYWORD' },
} as const;

/** All of them are of type Keyword. */
export const searchAttributeNames = Object.values(searchAttributes).map(({ name }) => name);
