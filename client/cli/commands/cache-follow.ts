import type { Command } from 'commander';
import type { FollowOutcome } from '../../../workflows/contract/refresh';
import { followImage, listFollows, unfollowImage } from '../../refresh';
import type { Follow } from '../../records';
import type { StartedRun } from '../../run-workflow';
import { formatAge, formatPairs } from '../output/format';
import { note, print, printJson } from '../output/print';
import { formatRecord, formatTable } from '../output/table';
import { runVerb, showFound, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
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

/** `ivc cache follow`, `unfollow`, `follows`. */
export function registerCacheFollow(cache: Command): void {
  const follow = cache
    .command('follow')
    .description('keep the newest image of a name populated; create from it with --image follow:NAME')
    .requiredOption('--name <name>', 'name of the image')
    .option('--as <name>', 'name of the follow (default: that of the image)')
    .option(
      '--owner <project>',
      'only images of this project; without it, anybody who can upload an image of that name replaces it',
    )
    .option('--tag <tag...>', 'only images with all of these tags', collectTexts)
    .option('--property <key=value...>', 'only images with all of these properties', collectPairs)
    .option('--backend <name>', 'where (default: the default backend)', parseBackend)
    .option(
      '--keep <n>',
      'earlier contents that stay cached (default: keepSuperseded of the backend)',
      parseWholeNumber,
    )
    .option('--pin', 'pin the current image: it is not evicted')
    .option('--no-wait', 'start it and return');
  withSharedOptions(follow).action(async (options: FollowOptions) => {
    const { name: imageName, as: name, owner, tag: tags, property: properties, backend, keep, pin } = options;
    const input = { imageName, name, owner, tags, properties, backend, keep, pin };
    await runVerb(
      options,
      (client, waiting) => followImage(client, input, waiting),
      (ran) => showRun(ran, options, { isFailed: ({ outcome }) => outcome === 'failed', show: showFollowed }),
    );
  });

  const unfollow = cache
    .command('unfollow')
    .description('end a follow; what was cached for it stays')
    .argument('<name>', 'name of the follow')
    .option('--backend <name>', 'where (default: the default backend)', parseBackend);
  withSharedOptions(unfollow).action(async (name: string, options: SharedOptions & { backend?: string }) => {
    await runVerb(
      options,
      (client, { signal }) => unfollowImage(client, { name, backend: options.backend }, { signal }),
      (result) => {
        if (options.json) return printJson(result);
        const said = result.outcome === 'removed' ? 'was removed' : 'was absent already';
        print(`follow ${result.name} on backend ${result.backend} ${said}`);
      },
    );
  });

  const follows = cache
    .command('follows')
    .description('list follows: the image that creates use, and the newest that matches')
    .option('--backend <name>', 'only on this backend', parseBackend);
  withSharedOptions(follows).action(async (options: SharedOptions & { backend?: string }) => {
    await showFound(
      options,
      async (client) => ({ follows: await listFollows(client, { backend: options.backend }) }),
      (found) => print(formatTable(head, found.follows.map(toRow))),
    );
  });
}

function showFollowed(followed: FollowOutcome & StartedRun): void {
  const { name, backend, outcome, imageId, summary, retired, workflowId } = followed;
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

const head = ['NAME', 'BACKEND', 'MATCHES', 'CURRENT', 'SINCE', 'NEWEST', 'KEEP', 'PIN', 'CHECKED', 'PROBLEM'];

function toRow(follow: Follow): string[] {
  const { name, backend, currentImageId, currentSince, newestImageId, keep, pin, checkedAt, problem } = follow;
  return [
    name,
    backend,
    describeMatch(follow),
    currentImageId ?? '-',
    currentSince === null ? '-' : formatAge(currentSince),
    newestImageId === currentImageId ? 'current' : (newestImageId ?? '-'),
    String(keep),
    pin ? 'yes' : 'no',
    checkedAt === null ? '-' : formatAge(checkedAt),
    problem ?? '-',
  ];
}

function describeMatch({ imageName, owner, tags, properties }: Follow): string {
  const pairs = formatPairs(properties);
  return [imageName, ...(owner === null ? [] : [`of ${owner}`]), ...tags, ...(pairs === '' ? [] : [pairs])].join(', ');
}
