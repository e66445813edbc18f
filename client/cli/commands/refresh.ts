import type { Command } from 'commander';
import type { RefreshResult } from '../../../workflows/contract/refresh';
import type { StartedRun } from '../../run-workflow';
import { lazy } from '../lazy';
import { formatRecord, formatTable } from '../output/table';
import { showRecord } from '../output/show';
import { resolveImage } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectTexts, parseBackend } from '../values';

interface RefreshOptions extends SharedOptions {
  image?: string[];
  follow?: string;
  backend?: string;
  acceptMissing?: boolean;
  wait: boolean;
}

export function registerRefresh(program: Command): void {
  const command = program
    .command('refresh')
    .description('check every cached image and every follow with the image service')
    .option('--image <image...>', 'only these images', collectTexts)
    .option('--follow <name>', 'only this follow')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .option('--accept-missing', 'treat images that are not found as deleted, however many there are')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(async (options: RefreshOptions) => {
    const { image, follow, backend, acceptMissing } = options;
    await runVerb(
      options,
      async (cache, waiting) => {
        const imageIds = image && (await Promise.all(image.map((called) => resolveImage(cache, called))));
        return await lazy.refresh.refreshCache(cache, { imageIds, follow, backend, acceptMissing }, waiting);
      },
      (ran) =>
        showRun(ran, options, {
          isFailed,
          show: (done) => showRecord(done, { id: 'workflowId', text: describe }, options),
        }),
    );
  });
}

/** The next run repeats what could not be checked or populated; the exit code says so, too. */
function isFailed({ unanswered, unbelieved, follows }: RefreshResult): boolean {
  return unanswered > 0 || unbelieved > 0 || follows.some(({ outcome }) => outcome === 'failed');
}

function describe(result: RefreshResult & StartedRun): string[] {
  const { imagesAsked, usable, deactivated, gone, unanswered, retiredEntries, deletedEntries, keptEntries } = result;
  const fields = formatRecord({
    images: `${imagesAsked} checked: ${usable} usable, ${deactivated} deactivated, ${gone} gone, ${unanswered} unanswered`,
    entries: `${retiredEntries.length} retired, ${deletedEntries} deleted`,
    doubted:
      result.doubt === null
        ? undefined
        : `${result.unbelieved} not found, but not treated as deleted: ${result.doubt}. Nothing was retired for them. If they were deleted: ivc refresh --accept-missing`,
    kept: keptEntries.length === 0 ? undefined : keptEntries.map(({ entryId, why }) => `${entryId} (${why})`).join(' '),
    workflowId: result.workflowId,
  });
  if (result.follows.length === 0) return fields;
  const rows = result.follows.map(({ name, backend, outcome, imageId, summary }) => [
    name,
    backend,
    outcome,
    imageId ?? '-',
    summary,
  ]);
  return [...fields, '', ...formatTable(['FOLLOW', 'BACKEND', 'OUTCOME', 'NEWEST', 'WHY'], rows)];
}
