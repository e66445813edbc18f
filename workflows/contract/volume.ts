import type { FailureRecord } from './failures';
import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from './ids';

export const volumeStates = ['creating', 'available', 'error', 'deleting', 'deleted'] as const;
export type VolumeState = (typeof volumeStates)[number];

/** How libvirt or QEMU attaches a volume. */
export type Connection =
  | { driver: 'file'; path: string; format: 'raw' | 'qcow2' }
  | {
      driver: 'rbd';
      pool: string;
      /** Absent: the pool's default namespace. */
      namespace?: string;
      image: string;
      format: 'raw';
      /** The cephx user, without `client.`. */
      user: string;
      /** ceph.conf on the worker's host. */
      conf: string;
      /** `host:port` of each monitor. */
      monitors: string[];
    };

/** How a create was answered; the operator's word for each is in the decision record. */
export const outcomes = ['hit', 'miss', 'joined', 'bypassed', 'refused'] as const;
export type Outcome = (typeof outcomes)[number];

/** Why the cache was not used. */
export type BypassReason = 'cache-off' | 'too-large-for-cache' | 'requested' | 'no-room';

/** Input of `CreateVolumeFromImage`, as any Temporal client may send it. Only `imageId` is required. */
export interface CreateVolumeInput {
  /** An image's id, or `follow:<name>`: what that follow has ready. */
  imageId: string;
  volumeId?: string;
  backend?: string;
  /** Bytes, a multiple of 512. Default: the larger of virtual size and `min_disk`, rounded up to 1 MiB. */
  sizeBytes?: number;
  /** Trusted as given until an identity service is configured. */
  projectId?: string;
  name?: string;
  metadata?: Record<string, string>;
  bypassCache?: boolean;
}

/** Milliseconds of each stage of a create, by stage name. */
export type TimingsMs = Partial<
  Record<'admit' | 'acquire' | 'wait' | 'clone' | 'download' | 'convert' | 'total', number>
>;

/** Result of `CreateVolumeFromImage`. */
export interface CreateVolumeResult {
  volumeId: VolumeId;
  imageId: ImageId;
  projectId: ProjectId;
  backend: BackendName;
  name: string | null;
  sizeBytes: number;
  outcome: Exclude<Outcome, 'refused'>;
  /** One sentence: why this outcome. */
  reason: string;
  connection: Connection;
  /**
   * Bytes read from the image service on behalf of this create alone: the flight's for its leader, 0 for a hit or a
   * joiner.
   */
  bytesDownloaded: number;
  timingsMs: TimingsMs;
}

/** Volumes that one run makes at most. */
export const MAX_VOLUMES = 1000;

/** What becomes of the volumes that could be made where another could not. */
export const failurePolicies = ['keep', 'undo'] as const;
export type FailurePolicy = (typeof failurePolicies)[number];

/** Input of `CreateVolumesFromImage`: as for one volume, and either `count` or `volumeIds`. */
export interface CreateVolumesInput extends Omit<CreateVolumeInput, 'volumeId' | 'bypassCache'> {
  /** 1 to `MAX_VOLUMES`; the ids follow from the workflow's id, so that a repeated start is the same volumes. */
  count?: number;
  /** The volumes' ids, each once, `MAX_VOLUMES` at most. */
  volumeIds?: string[];
  /** `web` names the volumes `web-1`, `web-2`, … in their order. */
  name?: string;
  /** Default: `keep`. With `undo` no volume becomes available unless all do. */
  onFailure?: FailurePolicy;
}

/** A volume that a bulk create has made. */
export interface MadeVolume {
  volumeId: VolumeId;
  name: string | null;
  sizeBytes: number;
  outcome: CreateVolumeResult['outcome'];
  connection: Connection;
}

/** A volume that could not be made: its row is `error`, or `deleted` where somebody has deleted it meanwhile. */
export interface FailedVolume {
  volumeId: VolumeId;
  failure: FailureRecord;
}

/** Result of `CreateVolumesFromImage`. */
export interface CreateVolumesResult {
  imageId: ImageId;
  projectId: ProjectId;
  backend: BackendName;
  /** Those that are available, in the order of the request. */
  volumes: MadeVolume[];
  failed: FailedVolume[];
  /** One sentence: how many of each outcome. */
  summary: string;
  /** Bytes read from the image service on behalf of this run. */
  bytesDownloaded: number;
  timingsMs: TimingsMs;
}

/** Input and result of `DeleteVolume`. */
export interface DeleteVolumeInput {
  volumeId: string;
}
export interface DeleteVolumeResult {
  volumeId: VolumeId;
  /** `absent`: there was nothing left to delete. */
  outcome: 'deleted' | 'absent';
  /** The retired parent that went with its last clone. */
  deletedParent?: EntryId;
}
