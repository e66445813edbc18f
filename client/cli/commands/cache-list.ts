import { Option, type Command } from 'commander';
import { cacheEntryStates, type CacheEntry, type CacheEntryState } from '../../records';
import { stayReasons } from '../../../workflows/contract/eviction';
import { expectBackend } from '../../reads';
import { showList, type ListView } from '../output/show';
import {
  noteNextPage,
  showFound,
  withSharedOptions,
  withWatchOption,
  type SharedOptions,
  type WatchOptions,
} from '../run-verb';
import { parseBackend, parseCount, parseUuid } from '../values';

interface ListOptions extends SharedOptions, WatchOptions {
  backend?: string;
  state?: CacheEntryState;
  limit: number;
  after?: string;
}

const PAGE_ENTRIES = 200;

export function registerCacheList(cache: Command): void {
  const command = cache
    .command('list')
    .description('list cache entries, the newest first, and why each one stays')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .addOption(new Option('--state <state>', 'only in this state (default: all but gone)').choices(cacheEntryStates))
    .option('--limit <n>', 'at most this many', parseCount, PAGE_ENTRIES)
    .option('--after <entry-id>', 'the next page: the entries after this one', parseUuid);
  withSharedOptions(withWatchOption(command)).action(list);
}

async function list({ backend, state, limit, after, ...shared }: ListOptions): Promise<void> {
  await showFound(
    shared,
    async (client) => {
      await expectBackend(client, backend);
      const entries = await (await client.inventory()).listEntries({ backend, state, limit, after });
      return { entries, next: entries.length < limit ? null : (entries.at(-1)?.entryId ?? null) };
    },
    (found) => {
      showList(found, view, shared);
      noteNextPage(found.next, shared);
    },
  );
}

const view: ListView<CacheEntry> = {
  list: 'entries',
  id: 'entryId',
  columns: [
    'entryId',
    { name: 'state', of: ({ state, reason }) => (reason === null ? state : `${state} (${reason})`) },
    'realBytes',
    'clones',
    'uses',
    { name: 'lastUsedAt', head: 'LAST USE' },
    { name: 'whyItStays', of: ({ whyItStays }) => (whyItStays === null ? '-' : stayReasons[whyItStays]) },
  ],
  more: [
    'backend',
    { name: 'cacheKey.short', head: 'KEY' },
    'generation',
    'virtualBytes',
    'reclaimableBytes',
    'costSeconds',
    { name: 'pinned', of: ({ pinned, pinnedBy }) => (pinned ? (pinnedBy ?? 'yes') : '-') },
    { name: 'images.imageId', head: 'IMAGES' },
  ],
  empty: 'no cache entries',
};
