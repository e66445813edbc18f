import type { Command } from 'commander';
import { forgetRefusal } from '../../eviction';
import type { Refusal } from '../../records';
import { showAnswer } from '../output/eviction';
import { formatAge } from '../output/format';
import { print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend, parseKeyPrefix } from '../values';
import { userName } from './evict';

interface BackendOptions extends SharedOptions {
  backend?: string;
}

export function registerCacheRefusals(cache: Command): void {
  const command = cache
    .command('refusals')
    .description('list refused bytes that are remembered: creates of the same bytes hear the refusal at once')
    .option('--backend <name>', 'only of this backend', parseBackend);
  withSharedOptions(command).action(async ({ backend, ...shared }: BackendOptions) => {
    const refusals = await withClient(shared, async (client) => (await client.inventory()).listRefusals({ backend }));
    if (shared.json) return printJson({ refusals });
    print(formatTable(['KEY', 'BACKEND', 'IMAGE', 'RULE', 'AGE', 'WHY'], refusals.map(toRow)));
  });
}

export function registerCacheForgetRefusal(cache: Command): void {
  const command = cache
    .command('forget-refusal')
    .description('let the next create of refused bytes ask them again')
    .argument('<key>', 'short key of the bytes, or its beginning, as `ivc cache refusals` lists it', parseKeyPrefix)
    .option('--backend <name>', 'where (default: the default backend)', parseBackend)
    .option('--no-wait', 'ask for it and return');
  withSharedOptions(command).action(
    async (key: string, { backend, wait, ...shared }: BackendOptions & { wait: boolean }) => {
      const request = { cacheKey: key, by: userName() };
      process.exitCode = await withClient(shared, async (client) =>
        showAnswer(await forgetRefusal(client, request, { backend, wait }), shared),
      );
    },
  );
}

function toRow({ cacheKey, backend, imageId, rule, message, refusedAt }: Refusal): string[] {
  return [cacheKey.short, backend, imageId, rule, refusedAt === null ? '-' : formatAge(refusedAt), message];
}
