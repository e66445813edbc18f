import type { Command } from 'commander';
import { listFollows } from '../../follows';
import type { Follow } from '../../records';
import { formatAge, formatPairs } from '../output/format';
import { print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend } from '../values';

export function registerCacheFollows(cache: Command): void {
  const command = cache
    .command('follows')
    .description('list follows: what creates from them use, and what is newer')
    .option('--backend <name>', 'only of this backend', parseBackend);
  withSharedOptions(command).action(list);
}

async function list({ backend, ...shared }: SharedOptions & { backend?: string }): Promise<void> {
  const follows = await withClient(shared, (cache) => listFollows(cache, { backend }));
  if (shared.json) return printJson({ follows });
  const head = ['NAME', 'BACKEND', 'MEANS', 'CURRENT', 'SINCE', 'NEWEST', 'KEEP', 'PIN', 'LOOKED AT', 'PROBLEM'];
  print(formatTable(head, follows.map(toRow)));
}

function toRow(follow: Follow): string[] {
  const { name, backend, currentImageId, currentSince, newestImageId, keep, pin, checkedAt, problem } = follow;
  return [
    name,
    backend,
    describeMeant(follow),
    currentImageId ?? '-',
    currentSince === null ? '-' : formatAge(currentSince),
    newestImageId === currentImageId ? 'current' : (newestImageId ?? '-'),
    String(keep),
    pin ? 'yes' : 'no',
    checkedAt === null ? '-' : formatAge(checkedAt),
    problem ?? '-',
  ];
}

function describeMeant({ imageName, owner, tags, properties }: Follow): string {
  const pairs = formatPairs(properties);
  return [imageName, ...(owner === null ? [] : [`of ${owner}`]), ...tags, ...(pairs === '' ? [] : [pairs])].join(', ');
}
