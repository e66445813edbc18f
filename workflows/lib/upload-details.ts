import { formatBytes } from '../contract/bytes';
import type { FailureRecord } from '../contract/failures';
import { code, paragraphs, text } from '../contract/markdown';
import type { ShareSnapshotResult, UnshareSnapshotResult } from '../contract/share';
import type { SeedPlan, SeedResult, UploadPlan, UploadVolumeResult } from '../contract/upload';

/** An upload that runs. @param progress Markdown link to the run's heartbeats. */
export function describeUploading({ volumeId, imageId, record }: UploadPlan, progress: string): string {
  return paragraphs(
    `**uploading** volume ${code(volumeId)} to image ${code(imageId)}, as ${record.diskFormat}`,
    `Current stage, bytes and rate: ${progress}, *Heartbeat Details*.`,
  );
}

export function describeUploaded({
  imageId,
  imageBytes,
  hashAlgorithm,
  hashValue,
  summary,
}: UploadVolumeResult): string {
  return paragraphs(
    `**uploaded**: ${text(summary)}`,
    `- image ${code(imageId)}: active, ${formatBytes(imageBytes)}\n- ${hashAlgorithm}: ${code(hashValue)}`,
  );
}

export function describeShared({ imageId, imageBytes, visibility, members, summary }: ShareSnapshotResult): string {
  const who = visibility === 'shared' ? `shared with ${members.map(code).join(', ') || 'nobody yet'}` : visibility;
  return paragraphs(
    `**shared**: ${text(summary)}`,
    `- image ${code(imageId)}: active, ${formatBytes(imageBytes)}\n- ${who}`,
  );
}

export function describeUnshared({ outcome, summary }: UnshareSnapshotResult): string {
  return `**${outcome}**: ${text(summary)}`;
}

/** A seeding that runs. @param progress as for an upload. */
export function describeSeeding({ volumeId, imageId }: SeedPlan, progress: string): string {
  return paragraphs(
    `**comparing** volume ${code(volumeId)} with image ${code(imageId)}, and making it the parent`,
    `Current stage, bytes and rate: ${progress}, *Heartbeat Details*.`,
  );
}

export function describeSeeded({ outcome, volumeId, imageId, backend, summary }: SeedResult): string {
  return paragraphs(
    `**${outcome}**: ${text(summary)}`,
    `Image ${code(imageId)}, from volume ${code(volumeId)} on backend ${code(backend)}.`,
  );
}

/** @param failure undefined: cancelled. */
export function describeSnapshotUndone(failure: FailureRecord | undefined): string {
  const why = failure === undefined ? '**cancelled**' : `**failed**: ${text(failure.message)} (${failure.type})`;
  return paragraphs(why, 'The snapshot and all that was half-made are removed.');
}
