import type { Command } from 'commander';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { withProgress } from '../output/progress';
import { isForProgram, showRecord } from '../output/show';
import { resolveImage, resolveVolume } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { userName } from './evict';

interface SeedOptions extends SharedOptions {
  image: string;
  volume: string;
  wait: boolean;
}

export function registerCacheSeed(cache: Command): void {
  const command = cache
    .command('seed')
    .description('make a copy of a volume that holds exactly an image’s bytes the parent of that image’s clones')
    .requiredOption('--image <image>', 'the image, raw or iso: its id, the first digits of it, or its name')
    .requiredOption('--volume <volume>', 'the volume, of any project; it is read and compared')
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action(seed);
}

async function seed(options: SeedOptions): Promise<void> {
  await runVerb(
    options,
    async (cache, waiting) => {
      const imageId = await resolveImage(cache, options.image);
      const volumeId = await resolveVolume(cache, options.volume);
      return await withProgress((onProgress) =>
        lazy.uploads.seedCache(cache, { imageId, volumeId, by: userName() }, { ...waiting, onProgress }),
      );
    },
    (ran) =>
      showRun(ran, options, {
        isFailed: ({ outcome }) => outcome === 'failed',
        show: (seeded) => {
          showRecord(seeded, { id: 'entryId' }, options);
          if (!isForProgram(options)) note(seeded.summary);
        },
      }),
  );
}
