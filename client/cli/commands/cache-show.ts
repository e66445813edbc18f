import type { Command } from 'commander';
import { stayReasons } from '../../../workflows/contract/eviction';
import { getEntry } from '../../reads';
import type { CacheEntry, Decision, EntryEvent } from '../../records';
import { formatOptionalBytes, formatInstant } from '../output/format';
import { formatTable } from '../output/table';
import { describeFields, showRecord } from '../output/show';
import { resolveEntry } from '../resolve';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { formatDuration } from '../../../workflows/contract/words';

/** The latest decisions and events that are shown with an entry. */
const DECISIONS_SHOWN = 20;
const EVENTS_SHOWN = 50;

export function registerCacheShow(cache: Command): void {
  const command = cache
    .command('show')
    .description('show a cache entry, its history and the latest creates that used it')
    .argument('<entry>', 'the entry: its id, the first digits of it, or the name of its image-volume');
  withSharedOptions(command).action(show);
}

async function show(called: string, options: SharedOptions): Promise<void> {
  await showFound(
    options,
    async (client) => {
      const entry = await getEntry(client, await resolveEntry(client, called));
      const inventory = await client.inventory();
      return {
        ...entry,
        history: await inventory.listEntryEvents({ entryId: entry.entryId, limit: EVENTS_SHOWN }),
        decisions: await inventory.listDecisions({ entryId: entry.entryId, limit: DECISIONS_SHOWN }),
      };
    },
    (found) => showRecord(found, { id: 'entryId', text: describe }, options),
  );
}

type Shown = CacheEntry & { history: EntryEvent[]; decisions: Decision[] };

function describe({ history, decisions, ...entry }: Shown): string[] {
  const { whyItStays, images } = entry;
  const fields = describeFields({
    ...entry,
    whyItStays: whyItStays && stayReasons[whyItStays],
    images: images.map(({ imageId, state }) => (state === 'usable' ? imageId : `${imageId} (${state})`)),
  });
  return [
    ...fields,
    ...tableOf(['AT', 'EVENT', 'REASON', 'BYTES', 'DETAIL', 'BY'], history.map(toEventRow)),
    ...tableOf(['AT', 'VOLUME ID', 'OUTCOME', 'TIME', 'REASON'], decisions.map(toRow)),
  ];
}

function tableOf(head: string[], rows: string[][]): string[] {
  return rows.length === 0 ? [] : ['', ...formatTable(head, rows)];
}

function toEventRow({ at, kind, reason, bytes, detail, workflowId }: EntryEvent): string[] {
  return [formatInstant(at), kind, reason ?? '-', formatOptionalBytes(bytes), detail ?? '-', workflowId ?? '-'];
}

function toRow({ at, volumeId, outcome, timingsMs, reason }: Decision): string[] {
  const time = timingsMs.total === undefined ? '-' : formatDuration(timingsMs.total);
  return [formatInstant(at), volumeId ?? '-', outcome, time, reason];
}
