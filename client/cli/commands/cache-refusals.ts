import type { Command } from 'commander';
import type { Refusal } from '../../records';
import { expectBackend } from '../../reads';
import { lazy } from '../lazy';
import { showAnswer } from '../output/eviction';
import { showList, type ListView } from '../output/show';
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
      async (client) => {
        await expectBackend(client, backend);
        return { refusals: await (await client.inventory()).listRefusals({ backend }) };
      },
      (found) => showList(found, view, options),
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
      (client, waiting) => lazy.eviction.forgetRefusal(client, { cacheKey, by: userName() }, { ...waiting, backend }),
      (answer) => showAnswer(answer, options),
    );
  });
}

const view: ListView<Refusal> = {
  list: 'refusals',
  id: 'cacheKey.short',
  columns: [{ name: 'cacheKey.short', head: 'KEY' }, 'backend', 'rule', 'refusedAt', 'message'],
  more: ['imageId', 'policyVersion'],
  empty: 'no refusals',
};
