import type { BackendName, HostId, VolumeId } from './ids';

/** Workflow types, as clients name them. */
export const workflowTypes = {
  createVolumeFromImage: 'CreateVolumeFromImage',
  createVolumesFromImage: 'CreateVolumesFromImage',
  populateImageCache: 'PopulateImageCache',
  deleteVolume: 'DeleteVolume',
  evictImageCache: 'EvictImageCache',
  warmImageCache: 'WarmImageCache',
  refreshImageCache: 'RefreshImageCache',
  followImage: 'FollowImage',
  unfollowImage: 'UnfollowImage',
  reconcileBackend: 'ReconcileBackend',
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
    deleteVolume: (volumeId: VolumeId): string => `${prefix}delete/${volumeId}`,
    evict: (backend: BackendName): string => `${prefix}evict/${backend}`,
    /** @param request a UUID: one run warms all that it names. */
    warm: (request: string): string => `${prefix}warm/${request}`,
    /** One id for both: what is said last holds. */
    follow: (backend: BackendName, name: string): string => `${prefix}follow/${backend}/${name}`,
    /** Of a schedule too. */
    reconcile: (backend: BackendName): string => `${prefix}reconcile/${backend}`,
    /** Of the one refresh of a stack, and of its schedule: it is not bound to a backend. */
    refresh: `${prefix}refresh-image-cache`,
  };
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
