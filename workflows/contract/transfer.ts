import type { Caller } from './event-kinds';
import type { ProjectId, TransferId, VolumeId } from './ids';

/** Input of `CreateTransfer`. */
export interface CreateTransferInput extends Caller {
  transferId: string;
  volumeId: string;
  /** Only a volume of this project. Default, for operators: of any. */
  projectId?: string;
  name?: string;
  /** SHA-256 of the key, in hexadecimal: the key itself is its caller's alone. */
  keyHash: string;
  /** Whether the volume goes without its snapshots: it is refused while it has any. */
  noSnapshots?: boolean;
}

/** Input of `AcceptTransfer`. */
export interface AcceptTransferInput extends Caller {
  transferId: string;
  /** Gets the volume. */
  projectId: string;
  keyHash: string;
}

/** Input of `DeleteTransfer`. */
export interface DeleteTransferInput extends Caller {
  transferId: string;
  /** Only an offer of this project. Default, for operators: of any. */
  projectId?: string;
}

/** Result of the three. */
export interface TransferResult {
  transferId: TransferId;
  volumeId: VolumeId;
  name: string | null;
  /** Offers the volume, or did. */
  sourceProjectId: ProjectId;
  outcome: 'offered' | 'accepted' | 'ended';
}
