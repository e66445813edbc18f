import type { Command } from 'commander';
import type { FollowOutcome, UnfollowResult } from '../../../workflows/contract/refresh';
import type { Follow } from '../../records';
import type { StartedRun } from '../../run-workflow';
import { failureError } from '../../errors';
import { expectBackend, listFollows } from '../../reads';
import { lazy } from '../lazy';
import { formatPairs } from '../output/format';
import { note } from '../output/print';
import { isForProgram, showList, showRecord, type ListView } from '../output/show';
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

interface UnfollowOptions extends SharedOptions {
  backend?: string;
  ignoreMissing?: boolean;
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
      (client, waiting) => lazy.refresh.followImage(client, input, waiting),
      (ran) =>
        showRun(ran, options, {
          isFailed: ({ outcome }) => outcome === 'failed',
          show: (followed) => showFollowed(followed, options),
        }),
    );
  });

  const unfollow = cache
    .command('unfollow')
    .description('end a follow; images cached for it stay')
    .argument('<name>', 'name of the follow')
    .option('--backend <name>', 'where (default: the default backend)', parseBackend)
    .option('--ignore-missing', 'a follow that there is not is as good as ended');
  withSharedOptions(unfollow).action(async (name: string, options: UnfollowOptions) => {
    await runVerb(
      options,
      async (client, { signal }) => {
        const input = { name, backend: options.backend };
        const ended = await lazy.refresh.unfollowImage(client, input, { signal });
        if (ended.outcome === 'removed' || options.ignoreMissing) return ended;
        throw failureError('FollowNotFound', { follow: name, backend: ended.backend, found: 'unknown' });
      },
      (result) => showRecord(result, { id: 'name', text: describeEnded }, options),
    );
  });

  const follows = cache
    .command('follows')
    .description('list follows: the image that creates use, and the newest that matches')
    .option('--backend <name>', 'only on this backend', parseBackend);
  withSharedOptions(follows).action(async (options: SharedOptions & { backend?: string }) => {
    await showFound(
      options,
      async (client) => {
        await expectBackend(client, options.backend);
        return { follows: await listFollows(client, { backend: options.backend }) };
      },
      (found) => showList(found, view, options),
    );
  });
}

function describeEnded({ name, backend, outcome }: UnfollowResult): string {
  return `follow ${name} on backend ${backend} ${outcome === 'removed' ? 'was removed' : 'was absent already'}`;
}

function showFollowed(followed: FollowOutcome & StartedRun, options: SharedOptions): void {
  const { name, backend } = followed;
  showRecord(followed, { id: 'name' }, options);
  if (!isForProgram(options))
    note(`Create volumes from it with \`ivc volume create --image follow:${name} --backend ${backend}\`.`);
}

const view: ListView<Follow> = {
  list: 'follows',
  id: 'name',
  columns: [
    'name',
    'backend',
    { name: 'imageName', head: 'MATCHES', of: describeMatch },
    { name: 'currentImageId', head: 'CURRENT' },
    'checkedAt',
    'problem',
  ],
  more: [
    'currentSince',
    {
      name: 'newestImageId',
      head: 'NEWEST',
      of: ({ newestImageId, currentImageId }) =>
        newestImageId === currentImageId ? 'current' : (newestImageId ?? '-'),
    },
    'keep',
    'pin',
  ],
  empty: 'no follows',
};

function describeMatch({ imageName, owner, tags, properties }: Follow): string {
  const pairs = formatPairs(properties);
  return [imageName, ...(owner === null ? [] : [`of ${owner}`]), ...tags, ...(pairs === '' ? [] : [pairs])].join(', ');
}
