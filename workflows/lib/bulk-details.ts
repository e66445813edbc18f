import { code, paragraphs, text } from '../contract/markdown';
import type { CreateVolumesResult, FailedVolume, MadeVolume } from '../contract/volume';
import { plural } from '../contract/words';

/** Failures that are told one by one; the result has all of them. */
const FAILURES_SHOWN = 5;

/** @returns `498 of 500 volumes available: 1 miss, 497 joined; 2 failed`. */
export function summarizeVolumes(made: readonly MadeVolume[], failed: readonly FailedVolume[]): string {
  const outcomes = [...new Set(made.map(({ outcome }) => outcome))].sort();
  const counts = outcomes.map((outcome) => `${made.filter((volume) => volume.outcome === outcome).length} ${outcome}`);
  const total = made.length + failed.length;
  return [
    `${made.length} of ${plural(total, 'volume', 'volumes')} available${counts.length === 0 ? '' : `: ${counts.join(', ')}`}`,
    ...(failed.length === 0 ? [] : [`${failed.length} failed`]),
  ].join('; ');
}

/** @param progress Markdown link to the run's heartbeats. */
export function describeCloning(total: number, imageId: string, progress: string): string {
  return paragraphs(
    `**cloning** image ${code(imageId)} into ${plural(total, 'volume', 'volumes')}`,
    `How many are done, and how fast: ${progress}, *Heartbeat Details*.`,
  );
}

export function describeVolumes({ imageId, backend, summary, failed }: CreateVolumesResult): string {
  return paragraphs(
    `**${text(summary)}**`,
    `image ${code(imageId)}, on backend ${code(backend)}`,
    ...describeFailed(failed),
  );
}

/** @param why undefined: cancelled. */
export function describeVolumesUndone(why: string | undefined, failed: readonly FailedVolume[]): string {
  return paragraphs(why === undefined ? '**cancelled**' : `**failed**: ${text(why)}`, ...describeFailed(failed));
}

function describeFailed(failed: readonly FailedVolume[]): string[] {
  if (failed.length === 0) return [];
  const lines = failed
    .slice(0, FAILURES_SHOWN)
    .map(({ volumeId, failure }) => `- volume ${code(volumeId)}: ${text(failure.message)} (${failure.type})`);
  const more = failed.length - lines.length;
  return [[...lines, ...(more > 0 ? [`- and ${more} more`] : [])].join('\n')];
}
