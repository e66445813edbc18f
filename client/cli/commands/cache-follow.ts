import type { Command } from 'commander';
import type { FollowOutcome } from '../../../workflows/contract/refresh';
import { followImage } from '../../follows';
import { exitCodes } from '../exit-codes';
import { howToLook } from '../output/how-to-look';
import { note, print, printJson } from '../output/print';
import { formatRecord } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { abortOnSignals } from '../signals';
import { collectPairs, collectTexts, parseBackend, parseWholeNumber } from '../values';

interface FollowOptions extends SharedOptions {
  name: string;
  as?: string;
  owner?: string;
  tag?: string[];
  property?: Record<string, string>;
  backend?: string;
  keep?: number;
  pin?: boolean;
  wait: boolean;
}

export function registerCacheFollow(cache: Command): void {
  const command = cache
    .command('follow')
    .description('keep the newest image of a name populated; create from it with --image follow:NAME')
    .requiredOption('--name <name>', 'name of the image')
    .option('--as <name>', 'name of the follow (default: that of the image)')
    .option('--owner <project>', 'only images of this project; without it whoever may upload an image decides')
    .option('--tag <tag...>', 'only images with all of these tags', collectTexts)
    .option('--property <key=value...>', 'only images with all of these properties', collectPairs)
    .option('--backend <name>', 'where (default: the default backend)', parseBackend)
    .option('--keep <n>', 'former contents that stay cached (default: keepSuperseded of the backend)', parseWholeNumber)
    .option('--pin', 'keep the current one from being evicted')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(follow);
}

async function follow(options: FollowOptions): Promise<void> {
  const { name: imageName, as: name, owner, tag: tags, property: properties, backend, keep, pin } = options;
  const input = { imageName, name, owner, tags, properties, backend, keep, pin };
  const signals = abortOnSignals();
  try {
    await withClient(options, async (cache) => {
      if (options.wait) {
        const { result, ...run } = await followImage(cache, input, { wait: true, signal: signals.signal });
        return show({ ...run, ...result }, options.json);
      }
      const started = await followImage(cache, input, { wait: false });
      if (options.json) return printJson(started);
      print(started.workflowId);
      note(howToLook(started.workflowId));
    });
  } finally {
    signals.release();
  }
}

function show(followed: FollowOutcome & { workflowId: string; runId: string }, json: boolean | undefined): void {
  const { name, backend, outcome, imageId, summary, retired, workflowId } = followed;
  if (outcome === 'failed') process.exitCode = exitCodes.failed;
  if (json) return printJson(followed);
  print(
    formatRecord({
      name,
      backend,
      outcome: `${outcome}: ${summary}`,
      image: imageId ?? undefined,
      retired: retired.length === 0 ? undefined : retired.join(' '),
      workflowId,
    }),
  );
  note(`Create volumes from it with \`ivc volume create --image follow:${name} --backend ${backend}\`.`);
}
