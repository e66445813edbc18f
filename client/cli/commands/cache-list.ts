import { Option, type Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import { cacheEntryStates, type CacheEntry, type CacheEntryState } from '../../records';
import { formatAge, formatDuration, formatOptionalBytes } from '../output/format';
import { print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend, parseCount } from '../values';

interface ListOptions extends SharedOptions {
  backend?: string;
  state?: CacheEntryState;
  limit?: number;
}

export function registerCacheList(cache: Command): void {
  const command = cache
    .command('list')
    .description('list cache entries, the newest first')
    .option('--backend <name>', 'only of this backend', parseBackend)
    .addOption(new Option('--state <state>', 'only in this state (default: all but gone)').choices(cacheEntryStates))
    .option('--limit <n>', 'at most so many', parseCount);
  withSharedOptions(command).action(list);
}

async function list({ backend, state, limit, ...shared }: ListOptions): Promise<void> {
  const entries = await withClient(shared, async (client) =>
    (await client.inventory()).listEntries({ backend, state, limit }),
  );
  if (shared.json) return printJson({ entries });
  const head = [
    'ENTRY ID',
    'BACKEND',
    'KEY',
    'GEN',
    'STATE',
    'VIRTUAL',
    'REAL',
    'USES',
    'CLONES',
    'COST',
    'LAST USE',
    'IMAGES',
  ];
  print(formatTable(head, entries.map(toRow)));
}

function toRow(entry: CacheEntry): string[] {
  const {
    entryId,
    backend,
    cacheKey,
    generation,
    state,
    reason,
    virtualBytes,
    realBytes,
    uses,
    clones,
    costSeconds,
    lastUsedAt,
    images,
  } = entry;
  return [
    entryId,
    backend,
    cacheKey.short,
    String(generation),
    reason === null ? state : `${state} (${reason})`,
    formatOptionalBytes(virtualBytes),
    formatBytes(realBytes),
    String(uses),
    String(clones),
    costSeconds === null ? '-' : formatDuration(costSeconds * 1000),
    lastUsedAt === null ? '-' : formatAge(lastUsedAt),
    images.map(({ imageId }) => imageId).join(' '),
  ];
}
