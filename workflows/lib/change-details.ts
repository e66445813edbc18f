/** The details of runs that change a volume, in words for the Temporal UI. */
import { formatBytes } from '../contract/bytes';
import { code, text } from '../contract/markdown';
import type { ChangeSnapshotResult } from '../contract/snapshot';
import type { TransferResult } from '../contract/transfer';
import type { ChangeAttachmentResult } from '../contract/attachment';
import type {
  ChangeVolumeResult,
  Extension,
  ExtendVolumeResult,
  Reimage,
  ReimageVolumeResult,
} from '../contract/volume-changes';
import { plural } from '../contract/words';

export function describeChanged({ volumeId, name, metadata, bootable }: ChangeVolumeResult): string {
  const entries = plural(Object.keys(metadata).length, 'entry', 'entries');
  const called = name === null ? 'has no name' : `is called ${text(name)}`;
  return `**changed**: volume ${code(volumeId)} ${called}, has ${entries} of metadata and is ${bootable ? '' : 'not '}bootable`;
}

export function describeChangedSnapshot({ snapshotId, name, metadata }: ChangeSnapshotResult): string {
  const entries = plural(Object.keys(metadata).length, 'entry', 'entries');
  const called = name === null ? 'has no name' : `is called ${text(name)}`;
  return `**changed**: snapshot ${code(snapshotId)} ${called} and has ${entries} of metadata`;
}

/** Outcomes of a run about an offer, in words. */
const transferWords = {
  offered: 'is offered by',
  accepted: 'has come from',
  ended: 'is no longer offered by',
} as const;

export function describeTransferRun({ outcome, volumeId, transferId, sourceProjectId }: TransferResult): string {
  return `**${outcome}**: volume ${code(volumeId)} ${transferWords[outcome]} project ${code(sourceProjectId)} (transfer ${code(transferId)})`;
}

export function describeHeld({ volumeId, attachmentId, status }: ChangeAttachmentResult): string {
  const of = attachmentId === null ? '' : ` by attachment ${code(attachmentId)}`;
  return `**changed**: volume ${code(volumeId)} is ${text(status ?? 'available')}${of}`;
}

export function describeExtending({ volumeId, sizeBytes, formerSizeBytes }: Extension): string {
  return `**growing** volume ${code(volumeId)} from ${formatBytes(formerSizeBytes)} to ${formatBytes(sizeBytes)}`;
}

export function describeExtended({ volumeId, sizeBytes, formerSizeBytes, openedBy }: ExtendVolumeResult): string {
  const grown = `**extended**: volume ${code(volumeId)} has ${formatBytes(sizeBytes)}, before ${formatBytes(formerSizeBytes)}`;
  return openedBy === null
    ? grown
    : `${grown}; ${text(openedBy)} has it open, and its guest must look for the new size`;
}

export function describeReimaging({ volumeId, imageId, formerImageId }: Reimage): string {
  const former = formerImageId === null ? 'its own' : `those of image ${code(formerImageId)}`;
  return `**reimaging** volume ${code(volumeId)}: the bytes of image ${code(imageId)} take the place of ${former}`;
}

export function describeReimaged({ volumeId, imageId, bytesDownloaded }: ReimageVolumeResult): string {
  const how = bytesDownloaded === 0 ? 'it was cached' : `${formatBytes(bytesDownloaded)} downloaded`;
  return `**reimaged**: volume ${code(volumeId)} has the bytes of image ${code(imageId)}; ${how}`;
}
