import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { ImageVolumeCache } from '../../connection';
import { listFlights, type Flight } from '../../flights';
import type { BackendStatus, DecisionSummary } from '../../records';
import { formatAge, formatDuration, formatShare } from '../output/format';
import { print, printJson } from '../output/print';
import { formatProgress } from '../output/format-progress';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseCount } from '../values';

const HOUR_MS = 3_600_000;
const DEFAULT_HOURS = 24;

interface StatusOptions extends SharedOptions {
  hours: number;
}

export function registerStatus(program: Command): void {
  const command = program
    .command('status')
    .description('backends, space, cache use, hit rate, populations that run')
    .option('--hours <n>', 'period of the hit rate', parseCount, DEFAULT_HOURS);
  withSharedOptions(command).action(status);
}

async function status({ hours, ...shared }: StatusOptions): Promise<void> {
  const found = await withClient(shared, (cache) => readStatus(cache, hours));
  if (shared.json) return printJson({ periodHours: hours, ...found });
  const { temporal, backends, decisions, flights } = found;
  const ui = temporal.uiUrl === null ? '' : `, UI ${temporal.uiUrl}`;
  print([`Temporal ${temporal.address}, namespace ${temporal.namespace}${ui}`, '']);
  print(
    formatTable(
      ['BACKEND', 'DRIVER', 'FREE', 'OF', 'CACHE', 'LIMIT', 'ENTRIES', 'PINNED', 'POLICY', 'HIT RATE'],
      backends.map(toBackendRow),
    ),
  );
  print(['', `Last ${hours} h: ${describeDecisions(decisions)}`]);
  if (flights.length === 0) return print('No population runs.');
  print(['', ...formatTable(['POPULATION', 'FOR', 'PROGRESS'], flights.map(toFlightRow))]);
}

async function readStatus(cache: ImageVolumeCache, hours: number) {
  const inventory = await cache.inventory();
  const withinMs = hours * HOUR_MS;
  const flights = await listFlights(cache);
  const { address = null, namespace, uiUrl = null } = cache.settings;
  return {
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

function describeDecisions({
  hit,
  miss,
  joined,
  bypassed,
  refused,
  failed,
  bytesDownloaded,
  savedBytes,
  savedSeconds,
  hitRate,
}: DecisionSummary): string {
  const counts = Object.entries({ hit, miss, joined, bypassed, refused, failed }).map(
    ([outcome, count]) => `${count} ${outcome}`,
  );
  const saved = `${formatBytes(savedBytes)} and ${formatDuration(savedSeconds * 1000)} saved`;
  return `${counts.join(', ')}; hit rate ${formatShare(hitRate)}, ${formatBytes(bytesDownloaded)} downloaded, ${saved}.`;
}

function toFlightRow({ workflowId, startedAt, work }: Flight): string[] {
  return [workflowId, formatAge(startedAt), formatProgress({ stage: 'running', ...(work && { work }) })];
}
