/**
 * The details of a run under *User Metadata* in the Temporal UI, as Markdown. A query answers them, so they cost no
 * history; their reader may have nothing else. Values that a user has chosen are escaped.
 */
import { workflowInfo } from '@temporalio/workflow';
import { formatBytes } from '../contract/bytes';
import type { FailureRecord } from '../contract/failures';
import type { VolumeId } from '../contract/ids';
import { code, link, paragraphs, text, workflowPath } from '../contract/markdown';
import type { Admission, ScratchImage, Verdict } from '../contract/population';
import type { CreateSnapshotResult, DeleteSnapshotResult } from '../contract/snapshot';
import type { BypassReason, Connection, CreateVolumeResult, TimingsMs } from '../contract/volume';
import { describeRemedy } from '../contract/unserved';
import { plural, formatDuration } from '../contract/words';

export const bypassReasons: Record<BypassReason, string> = {
  'cache-off': 'the cache of this backend is switched off',
  'too-large-for-cache': 'the image is larger than the whole cache may be',
  requested: 'the request asked for it',
  'no-room': 'the cache is full of image-volumes that are in use',
};

/** @param pending Markdown link to the run's pending activities. */
export function describeAdmitting(pending: string): string {
  return paragraphs(
    '**admitting**: reading the record of the image, checking the request, inserting the volume row',
    `If it does not go on, see why: ${pending}, *Last Failure*.`,
  );
}

export function describeCreated(result: CreateVolumeResult): string {
  const { volumeId, imageId, backend, sizeBytes, outcome, reason, bytesDownloaded, timingsMs } = result;
  const facts = [
    `volume ${code(volumeId)}: available, ${formatBytes(sizeBytes)}, on backend ${code(backend)}`,
    ...(imageId === null
      ? []
      : [
          `image ${code(imageId)}: ${bytesDownloaded === 0 ? 'nothing' : formatBytes(bytesDownloaded)} downloaded for this create`,
        ]),
    `attach it as ${describeConnection(result.connection)}`,
    ...(timingsMs.total === undefined ? [] : [`took ${describeTimings(timingsMs)}`]),
  ];
  return paragraphs(`**${outcome}**: ${text(reason)}`, facts.map((fact) => `- ${fact}`).join('\n'));
}

/** @param flightLink Markdown. */
export function describeWaiting(
  { imageId, backend }: Pick<Admission, 'imageId' | 'backend'>,
  flightLink: string,
): string {
  return paragraphs(
    `**waiting** for ${flightLink}`,
    `Image ${code(imageId)} is not cached on backend ${code(backend)} yet; one population serves all creates of it. See its progress there.`,
  );
}

/** @param taskQueue where the clone waits for a worker of the backend. */
export function describeCloneStep(
  { imageId, backend }: Pick<Admission, 'imageId' | 'backend'>,
  taskQueue: string,
): string {
  return paragraphs(`**cloning** image ${code(imageId)} on backend ${code(backend)}`, describeUnserved(taskQueue));
}

/** Told beforehand: a run that nobody works on cannot say it, and a timer would be one more action of every run. */
function describeUnserved(taskQueue: string): string {
  return `If it does not begin within seconds, no worker polls the task queue ${code(taskQueue)}: start one with ${code(describeRemedy(taskQueue))}.`;
}

/** @param progress Markdown link to the run's heartbeats. */
export function describeBypass(reason: BypassReason, scratch: ScratchImage | undefined, progress: string): string {
  const step =
    scratch === undefined ? 'downloading the image' : `${describeDownload(scratch)}; writing it into the volume`;
  return paragraphs(`**bypassing the cache**: ${bypassReasons[reason]}`, `Now ${step}. ${whereBytesAre(progress)}`);
}

/** @param failure undefined: cancelled.  @param end.undone whether what was made is undone by now. */
export function describeGivenUp(
  failure: FailureRecord | undefined,
  { volumeId, undone }: { volumeId: VolumeId; undone: boolean },
): string {
  const why = failure === undefined ? '**cancelled**' : `**failed**: ${describeFailure(failure)}`;
  const state = failure === undefined ? 'deleted' : 'in state error; send the same request again to retry';
  return paragraphs(
    why,
    undone
      ? `The work is undone; volume ${code(volumeId)} is ${state}.`
      : `The work on volume ${code(volumeId)} is being undone.`,
  );
}

export function describeRefused(failure: FailureRecord): string {
  return paragraphs(`**refused**: ${describeFailure(failure)}`, 'Nothing was created.');
}

/** A population that runs. @param progress Markdown link to the run's heartbeats. */
export function describePopulating(
  step: { imageId: string; hostId: string; imageVolume: string; scratch?: ScratchImage },
  progress: string,
): string {
  const { imageId, hostId, imageVolume, scratch } = step;
  const doing =
    scratch === undefined
      ? `**downloading** image ${code(imageId)}`
      : `**writing** image ${code(imageId)} into ${code(imageVolume)}: ${describeDownload(scratch)}`;
  return paragraphs(`${doing}, on host ${code(hostId)}`, whereBytesAre(progress));
}

export function describeMakingRoom(pending: string): string {
  return paragraphs(
    '**making room**: the cache is full, so the least valuable image-volumes that no volume needs are deleted',
    `See its progress: ${pending}.`,
  );
}

/** @param failure undefined: cancelled. */
export function describePopulationUndone(failure: FailureRecord | undefined): string {
  return failure === undefined
    ? paragraphs('**cancelled**', 'The work is being undone. The creates that wait start the next population.')
    : paragraphs(
        `**failed**: ${describeFailure(failure)}`,
        'The work is being undone; then every waiting create is answered.',
      );
}

export function describeVerdict(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'bypass':
      return `bypass: ${bypassReasons[verdict.reason]}; every waiter writes the image into its own volume`;
    case 'failed':
      return `failed: ${verdict.failure.message}`;
    case 'ready': {
      const { bytesDownloaded, timingsMs, transfer } = verdict;
      if (timingsMs.download === undefined) return 'ready: the image was cached already';
      const how = transfer === undefined ? '' : `; ${transfer}`;
      return `ready: ${formatBytes(bytesDownloaded)} downloaded, ${describeTimings(timingsMs)}${how}`;
    }
  }
}

export function describePopulated(verdict: Verdict, waitersAnswered: number): string {
  const summary = describeVerdict(verdict);
  const kindLength = summary.indexOf(':');
  return paragraphs(
    `**${summary.slice(0, kindLength)}**${text(summary.slice(kindLength))}`,
    `${plural(waitersAnswered, 'waiting create was', 'waiting creates were')} answered.`,
  );
}

/** @param createLink Markdown. */
export function describeCancelling(volumeId: VolumeId, createLink: string): string {
  return `**cancelling** the create of volume ${code(volumeId)} first: waiting until ${createLink} has closed`;
}

export function describeDeletingSnapshots(volumeId: VolumeId): string {
  return `**deleting snapshots** of volume ${code(volumeId)} first`;
}

export function describeDeleted(volumeId: VolumeId, outcome: 'absent' | 'deleted' | 'with-parent'): string {
  const deleted = {
    absent: 'there was nothing left to delete',
    deleted: 'its bytes were deleted',
    'with-parent': 'its bytes were deleted, and with them the retired image-volume that only it needed',
  };
  return `**${outcome === 'absent' ? 'absent' : 'deleted'}**: volume ${code(volumeId)}; ${deleted[outcome]}`;
}

export function describeSnapshotRun(
  { snapshotId, volumeId, backend, sizeBytes }: CreateSnapshotResult,
  state: 'creating' | 'available',
  progress?: string,
): string {
  const told = `**${state}**: snapshot ${code(snapshotId)} of volume ${code(volumeId)}, ${formatBytes(sizeBytes)}, on backend ${code(backend)}`;
  return progress === undefined ? told : paragraphs(told, whereBytesAre(progress));
}

export function describeSnapshotRefused(failure: FailureRecord): string {
  return paragraphs(`**failed**: ${describeFailure(failure)}`, 'Its parts that were made have been removed.');
}

export function describeSnapshotDeleted({ snapshotId, outcome, deletedParent }: DeleteSnapshotResult): string {
  const parent = deletedParent === undefined ? '' : '; with it went the retired image-volume that only it needed';
  return `**${outcome}**: snapshot ${code(snapshotId)}${parent}`;
}

function describeFailure({ type, message }: FailureRecord): string {
  return `${text(message)} (${type})`;
}

function whereBytesAre(progress: string): string {
  return `Current stage, bytes and rate: ${progress}, *Heartbeat Details*.`;
}

function describeDownload({ bytes, bytesDownloaded, downloadMs }: ScratchImage): string {
  return bytesDownloaded === 0
    ? `${formatBytes(bytes)} were already on the host`
    : `${formatBytes(bytesDownloaded)} downloaded in ${formatDuration(downloadMs)}`;
}

function describeConnection(connection: Connection): string {
  switch (connection.driver) {
    case 'file':
      return `${connection.format} file ${code(connection.path)}`;
    case 'rbd':
      return `RBD image ${code(`${connection.pool}/${connection.image}`)}`;
  }
}

function describeTimings({ total, ...stages }: TimingsMs): string {
  const parts = Object.entries(stages).map(([stage, ms]) => `${stage} ${formatDuration(ms)}`);
  if (total === undefined) return parts.join(', ');
  return parts.length === 0 ? formatDuration(total) : `${formatDuration(total)} (${parts.join(', ')})`;
}

/** @returns a Markdown link to another workflow of this namespace, as the Temporal UI opens it. */
export function workflowLink(workflowId: string): string {
  return link(workflowId, workflowPath(workflowInfo().namespace, workflowId));
}

/**
 * @returns a Markdown link to where the UI shows stage, bytes and rate of this run's work at this moment: its
 * heartbeats.
 */
export function progressLink(): string {
  const { namespace, workflowId, runId } = workflowInfo();
  return link('Pending Activities', workflowPath(namespace, workflowId, { runId, name: 'pending-activities' }));
}
