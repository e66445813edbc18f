import type { Caller } from './event-kinds';
import type { FailureRecord } from './failures';
import type { BackendName, EntryId, ImageId, ProjectId, SnapshotId, VolumeId } from './ids';

/** `reimaging`: it has no bytes to be read while it gets others. */
export const volumeStates = ['creating', 'available', 'reimaging', 'error', 'deleting', 'deleted'] as const;
export type VolumeState = (typeof volumeStates)[number];

/** Cinder's statuses of an `available` volume that its users have in hand. */
export const heldStatuses = [
  'reserved',
  'attaching',
  'in-use',
  'detaching',
  'extending',
  'uploading',
  'creating',
  'maintenance',
  'awaiting-transfer',
  'error',
  'error_attaching',
  'error_detaching',
  'error_deleting',
  'error_extending',
] as const;
export type HeldStatus = (typeof heldStatuses)[number];

/** In which a volume is deleted as one that nobody has in hand. Source: `cinder.volume.api.API.delete`. */
export const deletableStatuses: readonly HeldStatus[] = ['error', 'error_extending'];

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
export const outcomes = ['hit', 'miss', 'joined', 'bypassed', 'blank', 'copied', 'refused'] as const;
export type Outcome = (typeof outcomes)[number];

/** Of volumes that are made of no image: they say nothing of the cache. */
export type OutcomeWithoutCache = 'blank' | 'copied';

/** @returns whether an outcome, or the end of a create without one, says something of the cache. */
export function isOfCache<Ending extends string>(outcome: Ending): outcome is Exclude<Ending, OutcomeWithoutCache> {
  return outcome !== 'blank' && outcome !== 'copied';
}

/** Why the cache was not used. */
export type BypassReason = 'cache-off' | 'too-large-for-cache' | 'requested' | 'no-room';

/** In place of a backend's name. */
export const ANY_BACKEND = 'any';

/** Input of `CreateVolumeFromImage`, as any Temporal client may send it. Only `imageId` is required. */
export interface CreateVolumeInput extends Caller {
  /** An image's id, or `follow:<name>`: the image that the follow has ready. */
  imageId: string;
  volumeId?: string;
  /** A backend's name, or `ANY_BACKEND`: one of the volume type's, or of all, is chosen. */
  backend?: string;
  /** A name, or the id of one that administrators have made. Default, where the request names no backend either: the image's, by its property `cinder_img_volume_type`. */
  volumeType?: string;
  /** The type where neither the request nor its image says one. Default: the configuration's. */
  defaultVolumeType?: string;
  /** Bytes, a multiple of 512. Default: the larger of virtual size and `min_disk`, rounded up to 1 MiB. */
  sizeBytes?: number;
  /** Trusted as given until an identity service is configured. */
  projectId?: string;
  name?: string;
  description?: string;
  metadata?: Record<string, string>;
  bypassCache?: boolean;
  /** For callers that hear no more of it: where no backend fits the volume type, the volume is there all the same, and in `error`. Default: it is refused. */
  acceptUnplaced?: boolean;
}

/** Input of `CreateVolume`, as any Temporal client may send it: of a snapshot, of another volume, or, with neither, an empty one of `sizeBytes`. */
export interface CreatePlainVolumeInput extends Caller {
  snapshotId?: string;
  /** A volume, as it is at one moment. */
  sourceVolumeId?: string;
  /** For operators: the source may be another project's. */
  ofAnyProject?: boolean;
  volumeId?: string;
  /** Default: the source's, which is the only one for it. */
  backend?: string;
  /** As of an image's volume; default: the source's. It must allow the source's backend. */
  volumeType?: string;
  /** Of an empty one, as of an image's volume. */
  defaultVolumeType?: string;
  /** Bytes, a multiple of 512; not below the source's. Default: the source's. */
  sizeBytes?: number;
  projectId?: string;
  name?: string;
  description?: string;
  metadata?: Record<string, string>;
  /** As of an image's volume. */
  acceptUnplaced?: boolean;
}

/** The first content of a volume that is made of no image. */
export type VolumeSource =
  | { kind: 'blank' }
  | { kind: 'snapshot'; snapshotId: SnapshotId; volumeId: VolumeId }
  | { kind: 'volume'; volumeId: VolumeId };

/** The admitted request of `CreateVolume`. */
export interface PlainVolumePlan {
  volumeId: VolumeId;
  backend: BackendName;
  projectId: ProjectId;
  name: string | null;
  sizeBytes: number;
  bootable: boolean;
  source: VolumeSource;
  admitMs: number;
}

/** Milliseconds of each stage of a create, by stage name. */
export type TimingsMs = Partial<
  Record<'admit' | 'acquire' | 'wait' | 'clone' | 'download' | 'convert' | 'total', number>
>;

/** Result of `CreateVolumeFromImage`. */
export interface CreateVolumeResult {
  volumeId: VolumeId;
  /** Null where its bytes are of no image. */
  imageId: ImageId | null;
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

/** Policies for the volumes that could be made where another could not. */
export const failurePolicies = ['keep', 'undo'] as const;
export type FailurePolicy = (typeof failurePolicies)[number];

/** Input of `CreateVolumesFromImage`: as for one volume, and either `count` or `volumeIds`. */
export interface CreateVolumesInput extends Omit<CreateVolumeInput, 'volumeId' | 'bypassCache' | 'acceptUnplaced'> {
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
export interface DeleteVolumeInput extends Caller {
  /**
   * For operators, so without `projectId`: the row's attachment and held status are ignored, and a create that still runs is ended, not waited for.
   * A volume that somebody has open is never deleted.
   */
  force?: boolean;
  volumeId: string;
  /** Only a volume of this project; another's is `VolumeNotFound`, as what never was. Default, for operators: of any. */
  projectId?: string;
  /** Its snapshots are deleted first. Default: it is refused while it has any. */
  cascade?: boolean;
}
export interface DeleteVolumeResult {
  volumeId: VolumeId;
  /** `absent`: there was nothing left to delete. */
  outcome: 'deleted' | 'absent';
  /** The retired parent that went with its last clone. */
  deletedParent?: EntryId;
  /** With `cascade`: those that were deleted. */
  deletedSnapshots?: SnapshotId[];
}
