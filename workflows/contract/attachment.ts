import type { Caller } from './event-kinds';
import type { VolumeId } from './ids';
import type { HeldStatus } from './volume';

/** Cinder's statuses of an attachment. */
export const attachmentStatuses = [
  'reserved',
  'attaching',
  'attached',
  'detaching',
  'error_attaching',
  'error_detaching',
] as const;
export type AttachmentStatus = (typeof attachmentStatuses)[number];

export const attachModes = ['rw', 'ro'] as const;
export type AttachMode = (typeof attachModes)[number];

/** A host that attaches a volume, as it describes itself. Source: `connector` of os-brick. */
export type Connector = Record<string, unknown>;

/** Changes of a volume's attachments. The first four are those of Cinder's `attachments`, the others its older actions of volumes. */
export const attachmentChanges = [
  'create',
  'connect',
  'complete',
  'delete',
  'reserve',
  'unreserve',
  'begin-detaching',
  'roll-detaching',
  'attach',
  'detach',
  'disconnect',
] as const;
export type AttachmentChangeKind = (typeof attachmentChanges)[number];

/** One change, and what it is about. */
export interface AttachmentChange {
  change: AttachmentChangeKind;
  /** The one that is meant, or that is made. Default: a new one, or the only one. */
  attachmentId?: string;
  /** The server that is to have the volume. */
  instanceId?: string;
  hostName?: string;
  mountpoint?: string;
  /** Default: as the connector says, else for writing, unless the volume is read-only. */
  mode?: AttachMode;
  connector?: Connector;
  /** Whether a service, such as Nova, asks: only such a one ends what a server uses. Trusted as given. */
  byService?: boolean;
}

/** Input of `ChangeAttachment`. */
export interface ChangeAttachmentInput extends AttachmentChange, Caller {
  volumeId: string;
  /** Only of this project; absent, for operators: of any. */
  projectId?: string;
}

/** Result of `ChangeAttachment`. */
export interface ChangeAttachmentResult {
  volumeId: VolumeId;
  /** The one that was changed or made; null where the volume alone was. */
  attachmentId: string | null;
  /** Of the volume; null: `available`. */
  status: HeldStatus | null;
}
