import { InvalidArgumentError, type Command } from 'commander';
import { listedEventKinds } from '../../../workflows/contract/event-kinds';
import type { AuditEvent } from '../../records';
import { expectBackend } from '../../reads';
import { formatInstant } from '../output/format';
import { showList, type ListView } from '../output/show';
import { resolveEntry, resolveImage, resolveVolume } from '../resolve';
import { noteNextPage, showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parseCount, parsePeriod } from '../values';

interface EventOptions extends SharedOptions {
  volume?: string;
  image?: string;
  entry?: string;
  project?: string;
  backend?: string;
  kind?: string;
  request?: string;
  since?: number;
  limit: number;
  after?: string;
}

const PAGE_EVENTS = 100;
const MOST_DAYS = 36_500;

export function registerEvents(program: Command): void {
  const command = program
    .command('events')
    .description('list who did what to volumes, images and the cache, the newest first; deleted ones too')
    .option('--volume <volume>', 'only of this volume; of one that is gone by its whole id')
    .option('--image <image>', 'only of this image')
    .option('--entry <entry>', 'only of this cache entry')
    .option('--project <id>', 'only of volumes of this project')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .option('--kind <kind>', 'only of this kind, such as volume.deleted, or volume for all of volumes', parseKind)
    .option('--request <id>', 'only of this request, as its caller named it')
    .option('--since <period>', 'only of this last while: 90m, 24h or 7d', (text) => parsePeriod(text, MOST_DAYS))
    .option('--limit <n>', 'at most this many', parseCount, PAGE_EVENTS)
    .option('--after <event-id>', 'the next page: the events after this one');
  withSharedOptions(command).action(list);
}

async function list({ volume, image, entry, request, since, limit, ...options }: EventOptions): Promise<void> {
  const { project, backend, kind, after } = options;
  await showFound(
    options,
    async (cache) => {
      await expectBackend(cache, backend);
      const of = {
        volumeId: volume && (await resolveVolume(cache, volume, project)),
        imageId: image && (await resolveImage(cache, image)),
        entryId: entry && (await resolveEntry(cache, entry)),
        projectId: project,
        requestId: request,
      };
      const filter = { ...of, backend, kind, withinMs: since, limit, after };
      const events = await (await cache.inventory()).listEvents(filter);
      return { events, next: events.length < limit ? null : (events.at(-1)?.eventId ?? null) };
    },
    (found) => {
      showList(found, view, options);
      noteNextPage(found.next, options);
    },
  );
}

const view: ListView<AuditEvent> = {
  list: 'events',
  id: 'eventId',
  columns: [{ name: 'at', of: ({ at }) => formatInstant(at) }, 'kind', 'object', 'by', 'detail'],
  more: ['eventId', 'projectId', 'backend', 'requestId', 'workflowId'],
  empty: 'no events',
};

function parseKind(text: string): string {
  const subjects = new Set(listedEventKinds.map((kind) => kind.slice(0, kind.indexOf('.'))));
  if (subjects.has(text) || listedEventKinds.includes(text)) return text;
  throw new InvalidArgumentError(`Got ${text}, allowed is one of ${[...subjects, ...listedEventKinds].join(', ')}.`);
}
