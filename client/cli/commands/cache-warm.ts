import { Option, type Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { WarmOutcome } from '../../../workflows/contract/refresh';
import { warmCache, type WarmReport } from '../../refresh';
import { formatDuration } from '../../../workflows/contract/words';
import { note, print } from '../output/print';
import { withProgress, type Shown } from '../output/progress';
import { formatTable } from '../output/table';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectBackends, collectUuids } from '../values';

interface WarmOptions extends SharedOptions {
  image: string[];
  backend?: string[];
  all?: boolean;
  pin?: boolean;
  wait: boolean;
}

export function registerCacheWarm(cache: Command): void {
  const command = cache
    .command('warm')
    .description('populate the cache with images before anybody needs them')
    .requiredOption('--image <id...>', 'the images', collectUuids)
    .option('--backend <name...>', 'where (default: the default backend)', collectBackends)
    .addOption(new Option('--all', 'on all backends').conflicts('backend'))
    .option('--pin', 'pin the entries: they are not evicted')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(warm);
}

async function warm(options: WarmOptions): Promise<void> {
  const { image, backend, all, pin } = options;
  const input = { imageIds: image, backends: backend, allBackends: all, pin };
  await runVerb(
    options,
    (cache, waiting) =>
      withProgress((show) =>
        warmCache(cache, input, { ...waiting, onProgress: (report: WarmReport) => show(toShown(report)) }),
      ),
    (ran) =>
      showRun(ran, options, {
        isFailed: ({ warmed }) => warmed.some(({ outcome }) => outcome === 'failed'),
        show: ({ warmed, summary }) => {
          print(formatTable(['IMAGE', 'BACKEND', 'OUTCOME', 'DOWNLOADED', 'TIME', 'ENTRY', 'WHY'], warmed.map(toRow)));
          note(summary);
        },
      }),
  );
}

function toRow({ imageId, backend, outcome, bytesDownloaded, seconds, entryId, summary }: WarmOutcome): string[] {
  const downloaded = bytesDownloaded === 0 ? '-' : formatBytes(bytesDownloaded);
  return [imageId, backend, outcome, downloaded, formatDuration(seconds * 1000), entryId ?? '-', summary];
}

/** One line for all: how many are done, and the stage of the first that runs. */
function toShown({ total, done, running }: WarmReport): Shown {
  const [first] = running;
  const stage = `${done.length} of ${total} done`;
  if (first === undefined) return { stage };
  return { stage: `${stage}; image ${first.imageId} on ${first.backend}`, work: first.work };
}
