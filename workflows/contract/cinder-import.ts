import type { AttachMode, Connector } from './attachment';
import type { Caller } from './event-kinds';
import type { BackendName, ImageId, SnapshotId, VolumeId } from './ids';
import type { KeptQuotaName, QuotaName } from './quotas';
import type { VolumeTypeEncryption } from './volume-type';

/* Records of Cinder's database, and results of their import. Times are ISO 8601. */

export interface CinderSnapshot {
  snapshotId: SnapshotId;
  name: string | null;
  description: string | null;
  metadata: Record<string, string>;
  sizeBytes: number;
  status: string;
  /** Whether it is one of a group. */
  isGrouped: boolean;
  createdAt: string;
}

export interface CinderAttachment {
  attachmentId: string;
  instanceId: string | null;
  hostName: string | null;
  mountpoint: string | null;
  mode: AttachMode | null;
  /** As Cinder has it. */
  status: string;
  connector: Connector | null;
  createdAt: string;
  attachedAt: string | null;
}

export interface CinderVolume {
  volumeId: VolumeId;
  projectId: string;
  userId: string | null;
  name: string | null;
  description: string | null;
  sizeBytes: number;
  /** As Cinder has it. */
  status: string;
  /** `host@backend#pool`; null: it was never made. */
  host: string | null;
  /** Under whose id its image lies, where that is not its own. */
  nameId: string | null;
  migrationStatus: string | null;
  replicationStatus: string | null;
  isEncrypted: boolean;
  isGrouped: boolean;
  volumeTypeId: string | null;
  bootable: boolean;
  multiattach: boolean;
  readOnly: boolean;
  metadata: Record<string, string>;
  imageMetadata: Record<string, string>;
  createdAt: string;
  attachments: CinderAttachment[];
  snapshots: CinderSnapshot[];
  /** The image whose bytes it holds for Cinder's image-volume cache; null: it is a user's. */
  cachedImageId: ImageId | null;
}

export interface CinderVolumeType {
  volumeTypeId: string;
  name: string;
  description: string | null;
  isPublic: boolean;
  extraSpecs: Record<string, string>;
  projects: string[];
  encryption: VolumeTypeEncryption | null;
  /** Of its quality of service; null: it has none. */
  qosSpecsId: string | null;
}

export interface CinderProjectQuota {
  projectId: string;
  /** As Cinder calls it: `gigabytes`. */
  resource: string;
  /** In Cinder's units; -1: no limit. */
  limit: number;
}

/** Something of Cinder's that nothing here can be made of. */
export interface CinderLeftover {
  kind: LeftoverKind;
  object: string;
  name: string | null;
  projectId: string | null;
  reason: string;
}

/** Kinds of object that are taken over. */
export const importedKinds = ['volume', 'snapshot', 'type', 'quota', 'cached-image'] as const;
export type ImportedKind = (typeof importedKinds)[number];
export type LeftoverKind = 'backup' | 'quota-default';
export type ImportFindingKind = ImportedKind | LeftoverKind;

export interface ImportFinding {
  kind: ImportFindingKind;
  /** Id; of a quota its project and name. */
  object: string;
  name: string | null;
  projectId: string | null;
  bytes: number | null;
  /** `present`: it has been taken over before, or was there alike. */
  action: 'taken' | 'would-take' | 'present' | 'refused' | 'given-back' | 'would-give-back';
  /** Why it was refused, or what is not as it was in Cinder: one sentence for people. */
  reason: string | null;
}

/** An import's note of an object, to know later whether it is as it was. */
export interface ImportedDetail {
  name?: string | null;
  bytes?: number;
  /** Of a volume: when its bytes were last written. */
  modifiedAt?: string;
  /** Of a volume: the image whose bytes it holds. Of a cached image: the image. */
  cachedImageId?: ImageId;
  /** Of a snapshot; of a cached image: the volume that its image-volume is a clone of. */
  volumeId?: VolumeId;
  /** The project that owns it. */
  projectId?: string;
  /** Of a quota. */
  quota?: QuotaName | KeptQuotaName;
  most?: number | null;
}

/** Input of `ImportFromCinder`: a part of what Cinder has, in this order of its fields. */
export interface ImportFromCinderInput extends Caller {
  /** Default: the default backend. */
  backend?: string;
  /** Changes nothing, tells what would be done. */
  dryRun?: boolean;
  /** Cinder's database, for people: without a password. */
  source: string;
  types?: CinderVolumeType[];
  quotas?: CinderProjectQuota[];
  volumes?: CinderVolume[];
  /** All of Cinder's types, by their ids: their names, and why those are refused that are. With it volumes follow, in this part or a later one. */
  typesOf?: Record<string, { name: string; refused: string | null }>;
}

export interface ImportFromCinderResult {
  backend: BackendName;
  dryRun: boolean;
  findings: ImportFinding[];
}

/** @returns how many there are of each kind and action, such as `volume taken`. */
export function countFindings(findings: readonly ImportFinding[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind, action } of findings) {
    const what = `${kind} ${action}`;
    counts[what] = (counts[what] ?? 0) + 1;
  }
  return counts;
}

/** Input of `RevertImport`. */
export interface RevertImportInput extends Caller {
  backend?: string;
  dryRun?: boolean;
  /** Only what was taken over from this database, as the import has named it. */
  source?: string;
}
export type RevertImportResult = ImportFromCinderResult;

/** Statuses of an attachment that is there no longer. */
export const endedAttachmentStatuses: readonly string[] = ['detached', 'deleted'];
