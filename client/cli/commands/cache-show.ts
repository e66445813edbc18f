import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import { stayReasons } from '../../../workflows/contract/eviction';
import type { EntryId } from '../../../workflows/contract/ids';
import type { ImageVolumeCache } from '../../connection';
import { ImageVolumeCacheError } from '../../errors';
import type { CacheEntry, Decision, EntryEvent } from '../../records';
import { formatAge, formatOptionalBytes } from '../output/format';
import { print } from '../output/print';
import { formatRecord, formatTable } from '../output/table';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseUuid } from '../values';
import { formatDuration } from '../../../workflows/contract/words';

/** The latest decisions and events that are shown with an entry. */
const DECISIONS_SHOWN = 20;
const EVENTS_SHOWN = 50;

export function registerCacheShow(cache: Command): void {
  const command = cache
    .command('show')
    .description('show a cache entry, its history and the latest creates that used it')
    .argument('<entry-id>', 'the entry', parseUuid);
  withSharedOptions(command).action(show);
}

async function show(id: string, options: SharedOptions): Promise<void> {
  await showFound(
    options,
    async (client) => {
      const entry = await getEntry(client, id);
      const inventory = await client.inventory();
      return {
        ...entry,
        history: await inventory.listEntryEvents({ entryId: entry.entryId, limit: EVENTS_SHOWN }),
        decisions: await inventory.listDecisions({ entryId: id, limit: DECISIONS_SHOWN }),
      };
    },
    ({ history, decisions, ...entry }) => {
      print(describe(entry));
      if (history.length > 0)
        print(['', ...formatTable(['AGE', 'EVENT', 'REASON', 'BYTES', 'DETAIL', 'BY'], history.map(toEventRow))]);
      if (decisions.length > 0)
        print(['', ...formatTable(['AGE', 'VOLUME ID', 'OUTCOME', 'TIME', 'REASON'], decisions.map(toRow))]);
    },
  );
}

/** @throws ImageVolumeCacheError `EntryNotFound` */
export async function getEntry(cache: ImageVolumeCache, entryId: string): Promise<CacheEntry> {
  const entry = await (await cache.inventory()).findEntry(entryId as EntryId);
  if (entry !== undefined) return entry;
  const message = `entryId: there is no cache entry ${entryId}`;
  throw new ImageVolumeCacheError({ type: 'EntryNotFound', message, details: { entryId } });
}

function describe(entry: CacheEntry): string[] {
  const { containerFormat, diskFormat, hashAlgorithm, hashValue, short } = entry.cacheKey;
  return formatRecord({
    entryId: entry.entryId,
    backend: entry.backend,
    state: entry.reason === null ? entry.state : `${entry.state} (${entry.reason})`,
    key: short,
    content: `${diskFormat} in ${containerFormat}, ${hashAlgorithm} ${hashValue}`,
    generation: String(entry.generation),
    imageVolume: entry.imageVolume,
    virtualSize: formatOptionalBytes(entry.virtualBytes),
    realSize: formatBytes(entry.realBytes),
    cost: entry.costSeconds === null ? undefined : formatDuration(entry.costSeconds * 1000),
    uses: String(entry.uses),
    clones: String(entry.clones),
    reclaimable: formatOptionalBytes(entry.reclaimableBytes),
    pinned: entry.pinned ? `by ${entry.pinnedBy ?? 'somebody'}` : 'no',
    whyItStays: entry.whyItStays === null ? undefined : stayReasons[entry.whyItStays],
    images:
      entry.images.map(({ imageId, state }) => (state === 'usable' ? imageId : `${imageId} (${state})`)).join(', ') ||
      undefined,
    createdAt: entry.createdAt,
    readyAt: entry.readyAt ?? undefined,
    lastUsedAt: entry.lastUsedAt ?? undefined,
    supersededAt: entry.supersededAt ?? undefined,
    retiredAt: entry.retiredAt ?? undefined,
  });
}

function toEventRow({ at, kind, reason, bytes, detail, workflowId }: EntryEvent): string[] {
  return [formatAge(at), kind, reason ?? '-', formatOptionalBytes(bytes), detail ?? '-', workflowId ?? '-'];
}

function toRow({ at, volumeId, outcome, timingsMs, reason }: Decision): string[] {
  const time = timingsMs.total === undefined ? '-' : formatDuration(timingsMs.total);
  return [formatAge(at), volumeId ?? '-', outcome, time, reason];
}
