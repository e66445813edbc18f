import type { Command } from 'commander';
import { showRecord } from '../output/show';
import { resolveImage } from '../resolve';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';

export function registerImageShow(image: Command): void {
  const command = image
    .command('show')
    .description('show an image')
    .argument('<image>', 'the image: its id, the first digits of it, or its name');
  withSharedOptions(command).action(async (called: string, options: SharedOptions) => {
    await showFound(
      options,
      async (cache) => await (await cache.images()).getImage(await resolveImage(cache, called)),
      (found) => showRecord(found, { id: 'id' }, options),
    );
  });
}
