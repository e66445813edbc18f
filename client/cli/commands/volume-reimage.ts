import type { Command } from 'commander';
import { lazy } from '../lazy';
import { showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveImage, resolveVolume } from '../resolve';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { userName } from './evict';

interface ReimageOptions extends SharedOptions, ProjectOptions {
  image: string;
  bypassCache?: true;
}

export function registerVolumeReimage(volume: Command): void {
  const command = volume
    .command('reimage')
    .description('give a volume the bytes of an image in place of its own, through the cache; it must be detached')
    .argument('<volume>', 'the volume, which loses what it holds: its id, the first digits of it, or its name')
    .requiredOption('--image <image>', 'the image: its id, the first digits of it, or its name')
    .option('--bypass-cache', 'write the image directly into the volume');
  withSharedOptions(withProjectOptions(command)).action(async (called: string, options: ReimageOptions) => {
    await runVerb(
      options,
      async (cache, { signal }) => {
        const projectId = projectOf(cache.settings, options);
        const volumeId = await resolveVolume(cache, called, projectId);
        const imageId = await resolveImage(cache, options.image);
        const { bypassCache } = options;
        const request = { imageId, bypassCache, signal, projectId, by: userName() };
        return await lazy.volumes.reimageVolume(cache, volumeId, request);
      },
      (reimaged) => showRecord(reimaged, { id: 'volumeId', text: ({ summary }) => summary }, options),
    );
  });
}
