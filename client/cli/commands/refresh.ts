import type { Command } from 'commander';
import type { RefreshResult } from '../../../workflows/contract/refresh';
import { refreshCache } from '../../refresh';
import { exitCodes } from '../exit-codes';
import { howToLook } from '../output/how-to-look';
import { note, print, printJson } from '../output/print';
import { formatRecord, formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { abortOnSignals } from '../signals';
import { collectUuids, parseBackend } from '../values';

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
    .description('ask the image service about every cached image, look after every follow')
    .option('--image <id...>', 'only about these images', collectUuids)
    .option('--follow <name>', 'only after this follow')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .option('--accept-missing', 'images that are not found are gone, however many they are')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(refresh);
}

async function refresh(options: RefreshOptions): Promise<void> {
  const { image: imageIds, follow, backend, acceptMissing, json } = options;
  const input = { imageIds, follow, backend, acceptMissing };
  const signals = abortOnSignals();
  try {
    await withClient(options, async (cache) => {
      if (options.wait) {
        const { result, ...run } = await refreshCache(cache, input, { wait: true, signal: signals.signal });
        return show({ ...run, ...result }, json);
      }
      const started = await refreshCache(cache, input, { wait: false });
      if (json) return printJson(started);
      print(started.workflowId);
      note(howToLook(started.workflowId));
    });
  } finally {
    signals.release();
  }
}

/** What could not be asked or populated is asked again by the next run: told by the exit code, too. */
function show(result: RefreshResult & { workflowId: string; runId: string }, json: boolean | undefined): void {
  if (result.unanswered > 0 || result.unbelieved > 0 || result.follows.some(({ outcome }) => outcome === 'failed'))
    process.exitCode = exitCodes.failed;
  if (json) return printJson(result);
  const { imagesAsked, usable, deactivated, gone, unanswered, retiredEntries, deletedEntries, keptEntries } = result;
  print(
    formatRecord({
      images: `${imagesAsked} asked for: ${usable} usable, ${deactivated} deactivated, ${gone} gone, ${unanswered} unanswered`,
      entries: `${retiredEntries.length} retired, ${deletedEntries} deleted`,
      doubted:
        result.doubt === null
          ? undefined
          : `${result.unbelieved} not found and not believed to be gone: ${result.doubt}; nothing was retired for them. Should they be gone: ivc refresh --accept-missing`,
      kept:
        keptEntries.length === 0 ? undefined : keptEntries.map(({ entryId, why }) => `${entryId} (${why})`).join(' '),
      workflowId: result.workflowId,
    }),
  );
  if (result.follows.length === 0) return;
  const rows = result.follows.map(({ name, backend, outcome, imageId, summary }) => [
    name,
    backend,
    outcome,
    imageId ?? '-',
    summary,
  ]);
  print(['', ...formatTable(['FOLLOW', 'BACKEND', 'OUTCOME', 'NEWEST', 'WHY'], rows)]);
}
