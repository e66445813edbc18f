import type { Command } from 'commander';
import type { PinTarget } from '../../../workflows/contract/eviction';
import type { ImageVolumeCache } from '../../connection';
import type { EvictorAnswer, EvictorOptions } from '../../eviction';
import { getEntry } from '../../reads';
import { lazy } from '../lazy';
import { showAnswer, showAnswers } from '../output/eviction';
import { resolveEntry, resolveCachedImage } from '../resolve';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectTexts, parseBackend, parseKeyPrefix } from '../values';
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
    .argument('<entry...>', 'the entries: ids, the first digits of them, or names of image-volumes', collectTexts)
    .option('--reason <text>', 'why, for the history')
    .option('--flatten', 'make clones independent first, so that their parents can be deleted now')
    .option('--no-wait', 'send the request and return');
  withSharedOptions(command).action(async (ids: string[], options: EntryOptions) => {
    const { reason = `by ${userName()} with ivc`, flatten } = options;
    await sendForEach(ids, options, (client, entryId, sending) =>
      lazy.eviction.evict(client, { entryId, reason, by: userName(), flatten }, sending),
    );
  });
}

/** `ivc cache pin` and `ivc cache unpin`. */
export function registerCachePin(cache: Command): void {
  const verbs = [
    ['pin', 'keep entries from being evicted'],
    ['unpin', 'allow pinned entries to be evicted again'],
  ] as const;
  for (const [name, description] of verbs) {
    const command = cache
      .command(name)
      .description(description)
      .argument('[entry...]', 'the entries: ids, the first digits of them, or names of image-volumes', collectTexts, [])
      .option('--image <image>', 'all ready entries of this image instead')
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
        return await sendForEach(ids, options, (client, entryId, sending) =>
          lazy.eviction[name](client, { entryId, by }, sending),
        );
      await runVerb(
        options,
        async (client, waiting) => {
          const resolved = image === undefined ? target : { imageId: await resolveCachedImage(client, image) };
          return await lazy.eviction[name](client, { ...resolved, by }, { ...waiting, backend });
        },
        (answer) => showAnswer(answer, options),
      );
    });
  }
}

type Send = (client: ImageVolumeCache, entryId: string, sending: EvictorOptions) => Promise<EvictorAnswer>;

/** One request an entry, all at once: the evictor merges them. The worst exit code counts. */
async function sendForEach(called: string[], options: EntryOptions, send: Send): Promise<void> {
  await runVerb(
    options,
    async (client, waiting) => {
      const entries = await Promise.all(called.map(async (text) => getEntry(client, await resolveEntry(client, text))));
      return await Promise.all(entries.map(({ entryId, backend }) => send(client, entryId, { ...waiting, backend })));
    },
    (answers) => showAnswers(answers, options),
  );
}
