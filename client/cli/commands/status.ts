import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { ImageVolumeCache } from '../../connection';
import type { Flight } from '../../progress';
import type { BackendStatus } from '../../records';
import { lazy } from '../lazy';
import { describeDecisions, formatAge } from '../output/format';
import { formatProgress } from '../output/progress';
import { formatRecord, formatTable } from '../output/table';
import { describeRows, showList, type ListColumn, type ListView } from '../output/show';
import { showFound, withSharedOptions, withWatchOption, type SharedOptions, type WatchOptions } from '../run-verb';
import { parseCount } from '../values';

const HOUR_MS = 3_600_000;
const DEFAULT_HOURS = 24;

interface StatusOptions extends SharedOptions, WatchOptions {
  hours: number;
}

export function registerStatus(program: Command): void {
  const command = program
    .command('status')
    .description('show backends, space, cache use, hit rate and running populations')
    .option('--hours <n>', 'period of the hit rate, in hours', parseCount, DEFAULT_HOURS);
  withSharedOptions(withWatchOption(command)).action(async ({ hours, ...shared }: StatusOptions) => {
    await showFound(
      shared,
      (cache) => readStatus(cache, hours),
      (found) => showList(found, view, shared),
    );
  });
}

type Status = Awaited<ReturnType<typeof readStatus>>;

function describe({ periodHours, temporal, api, backends, decisions, flights }: Status, wide: boolean): string[] {
  const where = formatRecord({
    Temporal: `${temporal.address}, namespace ${temporal.namespace}`,
    'Temporal UI': temporal.uiUrl ?? undefined,
    'Block-storage API': api?.url,
  });
  return [
    ...where,
    '',
    ...describeRows(backends, wide ? [...columns, ...more] : columns, { empty: 'no backends', wide }),
    '',
    `Last ${periodHours} h:`,
    ...describeDecisions(decisions).map((line) => `  ${line}`),
    '',
    ...(flights.length === 0
      ? ['No population is running.']
      : ['', ...formatTable(['POPULATION', 'FOR', 'PROGRESS'], flights.map(toFlightRow))]),
  ];
}

async function readStatus(cache: ImageVolumeCache, periodHours: number) {
  const inventory = await cache.inventory();
  const withinMs = periodHours * HOUR_MS;
  const flights = await lazy.progress.listFlights(cache);
  const { address = null, namespace, uiUrl = null, endpoints } = cache.settings;
  return {
    periodHours,
    temporal: { address, namespace, uiUrl },
    /** Of the stack of this data directory. */
    api: endpoints?.api ?? null,
    backends: await inventory.listBackends({ withinMs }),
    decisions: await inventory.summarizeDecisions({ withinMs }),
    flights,
  };
}

const columns: ListColumn<BackendStatus>[] = [
  'backend',
  'space.freeBytes',
  { name: 'space.totalBytes', head: 'OF' },
  {
    name: 'cache.usedBytes',
    head: 'CACHE',
    of: ({ cache }) => (cache.enabled ? formatBytes(cache.usedBytes) : 'off'),
  },
  { name: 'cache.maxBytes', head: 'LIMIT' },
  { name: 'cache.count', head: 'ENTRIES', of: ({ cache }) => `${cache.count} of ${cache.maxCount}` },
  'decisions.hitRate',
];
const more: ListColumn<BackendStatus>[] = [
  'driver',
  { name: 'cache.pinnedBytes', head: 'PINNED' },
  'cache.policy',
  { name: 'clones.method', head: 'CLONES' },
];

const view: ListView<BackendStatus, Status> = {
  list: 'backends',
  id: 'backend',
  columns,
  more,
  empty: 'no backends',
  text: describe,
};

function toFlightRow({ workflowId, startedAt, work }: Flight): string[] {
  return [workflowId, formatAge(startedAt), formatProgress({ stage: 'running', ...(work && { work }) })];
}
