import { Option, type Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { WarmOutcome, WarmResult } from '../../../workflows/contract/refresh';
import { warmCache, type WarmReport } from '../../warming';
import { exitCodes } from '../exit-codes';
import { formatDuration } from '../output/format';
import type { Shown } from '../output/format-progress';
import { howToLook } from '../output/how-to-look';
import { note, print, printJson } from '../output/print';
import { createProgressView } from '../output/progress';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { abortOnSignals } from '../signals';
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
    .description('populate the cache with images before anybody asks')
    .requiredOption('--image <id...>', 'the images', collectUuids)
    .option('--backend <name...>', 'where (default: the default backend)', collectBackends)
    .addOption(new Option('--all', 'on all backends').conflicts('backend'))
    .option('--pin', 'keep them from being evicted')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(warm);
}

async function warm(options: WarmOptions): Promise<void> {
  const { image, backend, all, pin, json } = options;
  const input = { imageIds: image, backends: backend, allBackends: all, pin };
  await withClient(options, async (cache) => {
    if (!options.wait) {
      const started = await warmCache(cache, input, { wait: false });
      if (json) return printJson(started);
      print(started.workflowId);
      return note(howToLook(started.workflowId));
    }
    const signals = abortOnSignals();
    const view = createProgressView(process.stderr);
    try {
      const onProgress = (report: WarmReport) => view.show(toShown(report));
      const { result, ...run } = await warmCache(cache, input, { wait: true, onProgress, signal: signals.signal });
      view.end();
      show({ ...run, ...result }, json);
    } finally {
      view.end();
      signals.release();
    }
  });
}

function show(result: WarmResult & { workflowId: string; runId: string }, json: boolean | undefined): void {
  if (result.warmed.some(({ outcome }) => outcome === 'failed')) process.exitCode = exitCodes.failed;
  if (json) return printJson(result);
  print(formatTable(['IMAGE', 'BACKEND', 'OUTCOME', 'DOWNLOADED', 'TIME', 'ENTRY', 'WHY'], result.warmed.map(toRow)));
  note(result.summary);
}

function toRow({ imageId, backend, outcome, bytesDownloaded, seconds, entryId, summary }: WarmOutcome): string[] {
  const downloaded = bytesDownloaded === 0 ? '-' : formatBytes(bytesDownloaded);
  return [imageId, backend, outcome, downloaded, formatDuration(seconds * 1000), entryId ?? '-', summary];
}

/** One line for all: how many are done, and what the first that runs is at. */
function toShown({ total, done, running }: WarmReport): Shown {
  const [first] = running;
  const stage = `${done.length} of ${total} done`;
  if (first === undefined) return { stage };
  return { stage: `${stage}; image ${first.imageId} on ${first.backend}`, work: first.work };
}
