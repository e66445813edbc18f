import { Option, type Command } from 'commander';
import type { WarmOutcome } from '../../../workflows/contract/refresh';
import type { WarmReport } from '../../refresh';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { withProgress, type Shown } from '../output/progress';
import { isForProgram, showList, type ListView } from '../output/show';
import { resolveReadableImage } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectBackends, collectTexts } from '../values';
import { userName } from './evict';

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
    .requiredOption('--image <image...>', 'the images: ids, the first digits of them, or names', collectTexts)
    .option('--backend <name...>', 'where (default: the default backend)', collectBackends)
    .addOption(new Option('--all', 'on all backends').conflicts('backend'))
    .option('--pin', 'pin the entries: they are not evicted')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(warm);
}

async function warm(options: WarmOptions): Promise<void> {
  const { image, backend, all, pin } = options;
  await runVerb(
    options,
    async (cache, waiting) => {
      const imageIds = await Promise.all(image.map((called) => resolveReadableImage(cache, called)));
      const input = { imageIds, backends: backend, allBackends: all, pin, by: userName() };
      return await withProgress((show) => {
        const onProgress = (report: WarmReport): void => show(toShown(report));
        return lazy.refresh.warmCache(cache, input, { ...waiting, onProgress });
      });
    },
    (ran) =>
      showRun(ran, options, {
        isFailed: ({ warmed }) => warmed.some(({ outcome }) => outcome === 'failed'),
        show: (done) => {
          showList(done, view, options);
          if (!isForProgram(options)) note(done.summary);
        },
      }),
  );
}

const view: ListView<WarmOutcome> = {
  list: 'warmed',
  id: 'entryId',
  columns: [
    'imageId',
    'backend',
    'outcome',
    { name: 'bytesDownloaded', head: 'DOWNLOADED' },
    { name: 'summary', head: 'WHY' },
  ],
  more: ['entryId', { name: 'seconds', head: 'TIME' }],
  empty: 'nothing was warmed',
};

/** One line for all: how many are done, and the stage of the first that runs. */
function toShown({ total, done, running }: WarmReport): Shown {
  const [first] = running;
  const stage = `${done.length} of ${total} done`;
  if (first === undefined) return { stage };
  return { stage: `${stage}; image ${first.imageId} on ${first.backend}`, work: first.work };
}
