import type { Command } from 'commander';
import type { PinTarget } from '../../../workflows/contract/eviction';
import type { ImageVolumeCache } from '../../connection';
import { evict, pin, unpin, type EvictorAnswer, type EvictorOptions } from '../../eviction';
import { showAnswer } from '../output/eviction';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectUuids, parseBackend, parseKeyPrefix, parseUuid } from '../values';
import { getEntry } from './cache-show';
import { userName } from './evict';

interface EntryOptions extends SharedOptions {
  backend?: string;
  image?: string;
  key?: string;
  reason?: string;
  flatten?: boolean;
  wait: boolean;
}

export function registerCacheEvict(cache: Command): void {
  const command = cache
    .command('evict')
    .description('evict these entries; an entry with clones is retired, and deleted with its last clone')
    .argument('<entry-id...>', 'the entries', collectUuids)
    .option('--reason <text>', 'why, for the history')
    .option('--flatten', 'make clones independent first, so that their parents can be deleted now')
    .option('--no-wait', 'send the request and return');
  withSharedOptions(command).action(async (ids: string[], options: EntryOptions) => {
    const { reason = `by ${userName()} with ivc`, flatten } = options;
    await sendForEach(ids, options, (client, entryId, sending) => evict(client, { entryId, reason, flatten }, sending));
  });
}

/** `ivc cache pin` and `ivc cache unpin`. */
export function registerCachePin(cache: Command): void {
  const verbs = [
    ['pin', 'keep entries from being evicted', pin],
    ['unpin', 'allow pinned entries to be evicted again', unpin],
  ] as const;
  for (const [name, description, send] of verbs) {
    const command = cache
      .command(name)
      .description(description)
      .argument('[entry-id...]', 'the entries', collectUuids, [])
      .option('--image <id>', 'all ready entries of this image instead', parseUuid)
      .option(
        '--key <hex>',
        'all ready entries of this short cache key instead; its first digits are enough',
        parseKeyPrefix,
      )
      .option('--backend <name>', 'backend of --image or --key (default: the default backend)', parseBackend)
      .option('--no-wait', 'send the request and return');
    withSharedOptions(command).action(async (ids: string[], options: EntryOptions) => {
      const { image, key, backend } = options;
      const targets: PinTarget[] = [
        ...(image === undefined ? [] : [{ imageId: image }]),
        ...(key === undefined ? [] : [{ cacheKey: key }]),
      ];
      const [target] = targets;
      if (targets.length + (ids.length > 0 ? 1 : 0) !== 1)
        command.error('error: got no target or several, allowed is one of entries, --image, --key');
      const by = userName();
      if (target === undefined)
        return await sendForEach(ids, options, (client, entryId, sending) => send(client, { entryId, by }, sending));
      await runVerb(
        options,
        (client, waiting) => send(client, { ...target, by }, { ...waiting, backend }),
        (answer) => showAnswer(answer, options),
      );
    });
  }
}

type Send = (client: ImageVolumeCache, entryId: string, sending: EvictorOptions) => Promise<EvictorAnswer>;

/** One request an entry, all at once: the evictor merges them. The worst exit code counts. */
async function sendForEach(entryIds: string[], options: EntryOptions, send: Send): Promise<void> {
  await runVerb(
    options,
    async (client, waiting) => {
      const entries = await Promise.all(entryIds.map((entryId) => getEntry(client, entryId)));
      return await Promise.all(entries.map(({ entryId, backend }) => send(client, entryId, { ...waiting, backend })));
    },
    (answers) => Math.max(0, ...answers.map((answer) => showAnswer(answer, options))),
  );
}
