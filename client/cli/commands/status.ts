import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { ImageVolumeCache } from '../../connection';
import { listFlights, type Flight } from '../../progress';
import type { BackendStatus } from '../../records';
import { describeDecisions, formatAge, formatShare } from '../output/format';
import { print } from '../output/print';
import { formatProgress } from '../output/progress';
import { formatTable } from '../output/table';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseCount } from '../values';

const HOUR_MS = 3_600_000;
const DEFAULT_HOURS = 24;

interface StatusOptions extends SharedOptions {
  hours: number;
}

export function registerStatus(program: Command): void {
  const command = program
    .command('status')
    .description('show backends, space, cache use, hit rate and running populations')
    .option('--hours <n>', 'period of the hit rate, in hours', parseCount, DEFAULT_HOURS);
  withSharedOptions(command).action(async ({ hours, ...shared }: StatusOptions) => {
    await showFound(shared, (cache) => readStatus(cache, hours), show);
  });
}

function show({ periodHours, temporal, backends, decisions, flights }: Awaited<ReturnType<typeof readStatus>>): void {
  const ui = temporal.uiUrl === null ? '' : `, UI ${temporal.uiUrl}`;
  print([`Temporal ${temporal.address}, namespace ${temporal.namespace}${ui}`, '']);
  print(
    formatTable(
      ['BACKEND', 'DRIVER', 'FREE', 'OF', 'CACHE', 'LIMIT', 'ENTRIES', 'PINNED', 'POLICY', 'HIT RATE'],
      backends.map(toBackendRow),
    ),
  );
  print(['', `Last ${periodHours} h: ${describeDecisions(decisions).join('; ')}.`]);
  if (flights.length === 0) return print('No population is running.');
  print(['', ...formatTable(['POPULATION', 'FOR', 'PROGRESS'], flights.map(toFlightRow))]);
}

async function readStatus(cache: ImageVolumeCache, periodHours: number) {
  const inventory = await cache.inventory();
  const withinMs = periodHours * HOUR_MS;
  const flights = await listFlights(cache);
  const { address = null, namespace, uiUrl = null } = cache.settings;
  return {
    periodHours,
    temporal: { address, namespace, uiUrl },
    backends: await inventory.listBackends({ withinMs }),
    decisions: await inventory.summarizeDecisions({ withinMs }),
    flights,
  };
}

function toBackendRow({ backend, driver, space, cache, decisions }: BackendStatus): string[] {
  return [
    backend,
    driver,
    space === null ? '-' : formatBytes(space.freeBytes),
    space === null ? '-' : formatBytes(space.totalBytes),
    cache.enabled ? formatBytes(cache.usedBytes) : 'off',
    formatBytes(cache.maxBytes),
    `${cache.count} of ${cache.maxCount}`,
    formatBytes(cache.pinnedBytes),
    cache.policy,
    formatShare(decisions.hitRate),
  ];
}

function toFlightRow({ workflowId, startedAt, work }: Flight): string[] {
  return [workflowId, formatAge(startedAt), formatProgress({ stage: 'running', ...(work && { work }) })];
}
