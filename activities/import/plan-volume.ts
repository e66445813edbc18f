import type { ImportRow, SnapshotRow, VolumeRow } from '../../db/schema';
import { attachmentStatuses } from '../../workflows/contract/attachment';
import { formatBytes } from '../../workflows/contract/bytes';
import type { CinderVolume, ImportFromCinderInput } from '../../workflows/contract/cinder-import';
import { uuidPattern, type InstallationId } from '../../workflows/contract/ids';
import { plural, quote } from '../../workflows/contract/words';
import type { ForeignVolume } from '../backends/backend';

/** Facts about a volume of Cinder's. */
export interface ImportView {
  volume: CinderVolume;
  /** The image under its name in the pool. */
  found: ForeignVolume;
  installation: InstallationId;
  /** The rows of its id here, and the note of its import. */
  row: VolumeRow | undefined;
  note: ImportRow | undefined;
  /** Rows of its snapshots' ids. */
  snapshotRows: ReadonlyMap<string, SnapshotRow>;
  /** Attachments here that have ids of its own. */
  attachmentIds: ReadonlySet<string>;
  types: NonNullable<ImportFromCinderInput['typesOf']>;
}

export type ImportPlan = { kind: 'take' } | { kind: 'present' } | { kind: 'refused'; reason: string };

/** Statuses in which nobody but its users does anything with a volume. */
const takeable: readonly string[] = ['available', 'in-use'];
const notReplicated: readonly (string | null)[] = [null, 'disabled', 'not-capable'];
const notMigrating: readonly (string | null)[] = [null, 'success', 'error'];
const heldAttachments: readonly string[] = attachmentStatuses;

/** Pure. Whether a volume of Cinder's can be taken over where it lies, with all of its snapshots and attachments, and why it cannot. */
export function planVolume(view: ImportView): ImportPlan {
  const { volume, row, note, found, installation } = view;
  if (row !== undefined && note?.state === 'taken' && found.kind === 'present' && found.marker !== undefined)
    return { kind: 'present' };
  const reason =
    findOwn(view) ??
    findHindrance(volume) ??
    findTypeFault(view) ??
    findAttachmentFault(view) ??
    findPoolFault(volume, found, installation) ??
    findSnapshotFault(view);
  return reason === undefined ? { kind: 'take' } : { kind: 'refused', reason };
}

function findOwn({ volume, row, snapshotRows }: ImportView): string | undefined {
  if (row?.state === 'deleted') return 'a volume of this id was deleted here: an id is never used twice';
  if (row !== undefined) return `a volume of this id is ${row.state} here, and was not taken over`;
  const taken = volume.snapshots.find(({ snapshotId }) => snapshotRows.has(snapshotId));
  return taken && `a snapshot of the id of its snapshot ${taken.snapshotId} is here`;
}

/** By what Cinder says of it alone. */
function findHindrance(volume: CinderVolume): string | undefined {
  const { volumeId, nameId, status, migrationStatus, replicationStatus, isEncrypted, isGrouped } = volume;
  if (!uuidPattern.test(volumeId)) return 'its id is no UUID';
  if (!takeable.includes(status)) return `its status is ${status}, allowed is ${takeable.join(' or ')}`;
  if (!notMigrating.includes(migrationStatus))
    return `it is being migrated: its migration status is ${migrationStatus}`;
  if (nameId !== null) return `it was migrated: its image has the name of volume ${nameId}, not its own`;
  if (isEncrypted) return 'it is encrypted';
  if (!notReplicated.includes(replicationStatus))
    return `it is replicated: its replication status is ${replicationStatus}`;
  return isGrouped ? 'it is one of a group' : undefined;
}

function findTypeFault({ volume: { volumeTypeId }, types }: ImportView): string | undefined {
  if (volumeTypeId === null) return undefined;
  const type = types[volumeTypeId];
  if (type === undefined) return `Cinder has no volume type ${volumeTypeId}, which it has`;
  return type.refused === null ? undefined : `its volume type ${quote(type.name)} is not taken over: ${type.refused}`;
}

function findAttachmentFault({ volume, attachmentIds }: ImportView): string | undefined {
  const { attachments, status, multiattach } = volume;
  const unnamed = attachments.find(({ attachmentId }) => !uuidPattern.test(attachmentId));
  if (unnamed !== undefined) return `the id of its attachment ${unnamed.attachmentId} is no UUID`;
  const odd = attachments.find((one) => !heldAttachments.includes(one.status));
  if (odd !== undefined) return `its attachment ${odd.attachmentId} is ${odd.status}`;
  const known = attachments.find(({ attachmentId }) => attachmentIds.has(attachmentId));
  if (known !== undefined) return `an attachment of the id of its attachment ${known.attachmentId} is here`;
  if (status === 'available' && attachments.length > 0)
    return `it is available, and has ${plural(attachments.length, 'attachment')}`;
  if (status === 'in-use' && attachments.every((one) => one.status !== 'attached'))
    return 'it is in use, and Cinder has no attachment that says by whom';
  return attachments.length > 1 && !multiattach
    ? `it has ${attachments.length} attachments, and is not for several`
    : undefined;
}

function findPoolFault(
  { sizeBytes, host }: CinderVolume,
  found: ForeignVolume,
  installation: InstallationId,
): string | undefined {
  if (found.kind === 'absent') return `there is no image ${found.name}; Cinder's host is ${host ?? 'none'}`;
  if (found.marker !== undefined && found.marker.installation !== installation)
    return `it belongs to installation ${found.marker.installation}`;
  return found.sizeBytes === sizeBytes
    ? undefined
    : `image ${found.name} has ${formatBytes(found.sizeBytes)}, Cinder says ${formatBytes(sizeBytes)}`;
}

/** All of a volume's snapshots lie in it: it is taken over with every one of them. */
function findSnapshotFault({ volume: { snapshots }, found }: ImportView): string | undefined {
  const inPool = found.kind === 'present' ? found.snapshots : [];
  for (const { snapshotId, status, isGrouped } of snapshots) {
    if (!uuidPattern.test(snapshotId)) return `the id of its snapshot ${snapshotId} is no UUID`;
    if (status !== 'available') return `its snapshot ${snapshotId} is ${status}`;
    if (isGrouped) return `its snapshot ${snapshotId} is one of a group`;
    if (!inPool.includes(snapshotId)) return `its snapshot ${snapshotId} is not in image ${found.name}`;
  }
  const unknown = inPool.find((id) => snapshots.every(({ snapshotId }) => snapshotId !== id));
  return unknown && `image ${found.name} has a snapshot ${unknown}, of which Cinder knows nothing`;
}
