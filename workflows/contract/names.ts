import type { BackendName, HostId, VolumeId } from './ids';

/** Workflow types, as clients name them. */
export const workflowTypes = {
  createVolumeFromImage: 'CreateVolumeFromImage',
  populateImageCache: 'PopulateImageCache',
  deleteVolume: 'DeleteVolume',
  evictImageCache: 'EvictImageCache',
  warmImageCache: 'WarmImageCache',
  refreshImageCache: 'RefreshImageCache',
  followImage: 'FollowImage',
  unfollowImage: 'UnfollowImage',
  reconcileBackend: 'ReconcileBackend',
} as const;

/** Workflow ids are sentences: they are what the Temporal UI's list shows. */
export const workflowIds = {
  createVolume: (volumeId: VolumeId): string => `volume/${volumeId}`,
  populate: (backend: BackendName, shortKey: string): string => `populate/${backend}/${shortKey}`,
  deleteVolume: (volumeId: VolumeId): string => `delete/${volumeId}`,
  evict: (backend: BackendName): string => `evict/${backend}`,
  /** @param request a UUID: one run warms all that it names. */
  warm: (request: string): string => `warm/${request}`,
  /** One id for both: what is said last holds. */
  follow: (backend: BackendName, name: string): string => `follow/${backend}/${name}`,
  reconcile: (backend: BackendName): string => `reconcile/${backend}`,
};

/** The task queue of workflows, inventory and image-metadata activities. */
export const CONTROL_QUEUE = 'image-volume-cache';

/**
 * Task queues of one stack. All queues of a stack share one prefix (empty in production), so that several stacks,
 * such as a test's, can share a namespace.
 */
export function taskQueues(prefix = '') {
  return {
    control: `${prefix}${CONTROL_QUEUE}`,
    backend: (backend: BackendName): string => `${prefix}backend-${backend}`,
    host: (host: HostId): string => `${prefix}host-${host}`,
    /** Id of the one refresh of a stack, and of its schedule: it is not bound to a backend. */
    refresh: `${prefix}refresh-image-cache`,
  };
}

/** @returns the queues of the stack that a workflow on `controlQueue` belongs to. */
export function siblingQueues(controlQueue: string): ReturnType<typeof taskQueues> {
  return taskQueues(controlQueue.endsWith(CONTROL_QUEUE) ? controlQueue.slice(0, -CONTROL_QUEUE.length) : '');
}

/** Search attributes, all of type Keyword. A namespace without them still works. */
export const searchAttributeNames = ['Backend', 'ImageId', 'CacheKey', 'Outcome'] as const;
export type SearchAttributeName = (typeof searchAttributeNames)[number];
