import type { Command } from 'commander';
import { forgetRefusal } from '../../eviction';
import type { Refusal } from '../../records';
import { showAnswer } from '../output/eviction';
import { formatAge } from '../output/format';
import { print } from '../output/print';
import { formatTable } from '../output/table';
import { runVerb, showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parseKeyPrefix } from '../values';
import { userName } from './evict';

interface RefusalOptions extends SharedOptions {
  backend?: string;
  wait?: boolean;
}

/** `ivc cache refusals` and `ivc cache forget-refusal`. */
export function registerCacheRefusals(cache: Command): void {
  const list = cache
    .command('refusals')
    .description('list remembered refusals: a create of the same bytes is refused at once')
    .option('--backend <name>', 'only on this backend', parseBackend);
  withSharedOptions(list).action(async (options: RefusalOptions) => {
    const { backend } = options;
    await showFound(
      options,
      async (client) => ({ refusals: await (await client.inventory()).listRefusals({ backend }) }),
      ({ refusals }) => print(formatTable(['KEY', 'BACKEND', 'IMAGE', 'RULE', 'AGE', 'WHY'], refusals.map(toRow))),
    );
  });

  const forget = cache
    .command('forget-refusal')
    .description('forget a refusal: the next create inspects the bytes again')
    .argument('<key>', 'short cache key, as `ivc cache refusals` lists it; its first digits are enough', parseKeyPrefix)
    .option('--backend <name>', 'where (default: the default backend)', parseBackend)
    .option('--no-wait', 'send the request and return');
  withSharedOptions(forget).action(async (cacheKey: string, options: RefusalOptions) => {
    const { backend } = options;
    await runVerb(
      options,
      (client, waiting) => forgetRefusal(client, { cacheKey, by: userName() }, { ...waiting, backend }),
      (answer) => showAnswer(answer, options),
    );
  });
}

function toRow({ cacheKey, backend, imageId, rule, message, refusedAt }: Refusal): string[] {
  return [cacheKey.short, backend, imageId, rule, refusedAt === null ? '-' : formatAge(refusedAt), message];
}
