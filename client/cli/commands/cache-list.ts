import { Option, type Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import { cacheEntryStates, type CacheEntry, type CacheEntryState } from '../../records';
import { stayReasons } from '../../../workflows/contract/eviction';
import { formatAge, formatOptionalBytes } from '../output/format';
import { note, print } from '../output/print';
import { formatTable } from '../output/table';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parseCount, parseUuid } from '../values';
import { formatDuration } from '../../../workflows/contract/words';

interface ListOptions extends SharedOptions {
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
  withSharedOptions(command).action(list);
}

async function list({ backend, state, limit, after, ...shared }: ListOptions): Promise<void> {
  await showFound(
    shared,
    async (client) => {
      const entries = await (await client.inventory()).listEntries({ backend, state, limit, after });
      return { entries, next: entries.length < limit ? null : (entries.at(-1)?.entryId ?? null) };
    },
    ({ entries, next }) => {
      print(formatTable(head, entries.map(toRow)));
      if (next !== null) note(`there may be more: --after ${next}`);
    },
  );
}

const head = [
  'ENTRY ID',
  'BACKEND',
  'KEY',
  'GEN',
  'STATE',
  'VIRTUAL',
  'REAL',
  'RECLAIMABLE',
  'CLONES',
  'USES',
  'LAST USE',
  'COST',
  'PINNED',
  'WHY IT STAYS',
  'IMAGES',
];

function toRow(entry: CacheEntry): string[] {
  const { entryId, backend, cacheKey, generation, state, reason, virtualBytes, realBytes, reclaimableBytes } = entry;
  const { uses, clones, costSeconds, lastUsedAt, images, pinned, pinnedBy, whyItStays } = entry;
  return [
    entryId,
    backend,
    cacheKey.short,
    String(generation),
    reason === null ? state : `${state} (${reason})`,
    formatOptionalBytes(virtualBytes),
    formatBytes(realBytes),
    formatOptionalBytes(reclaimableBytes),
    String(clones),
    String(uses),
    lastUsedAt === null ? '-' : formatAge(lastUsedAt),
    costSeconds === null ? '-' : formatDuration(costSeconds * 1000),
    pinned ? (pinnedBy ?? 'yes') : '-',
    whyItStays === null ? '-' : stayReasons[whyItStays],
    images.map(({ imageId }) => imageId).join(' '),
  ];
}
