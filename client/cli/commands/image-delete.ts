import type { Command } from 'commander';
import { deleteEach, type DeleteEachOptions } from '../delete-each';
import { resolveImage } from '../resolve';
import { withSharedOptions } from '../run-verb';
import { collectTexts } from '../values';

interface DeletedImage {
  id: string;
  /** `absent`: there was none. */
  outcome: 'deleted' | 'absent';
}

export function registerImageDelete(image: Command): void {
  const command = image
    .command('delete')
    .description(
      'delete images of the image service; volumes made from them stay, and the next refresh sees to the cache',
    )
    .argument('<image...>', 'the images: ids, the first digits of them, or names', collectTexts)
    .option('--ignore-missing', 'an image that there is not is as good as deleted');
  withSharedOptions(command).action(async (called: string[], options: DeleteEachOptions) => {
    await deleteEach<DeletedImage>(called, options, {
      id: 'id',
      remove: async (cache, one) => {
        const id = await resolveImage(cache, one);
        await (await cache.images()).deleteImage(id);
        return { id, outcome: 'deleted' };
      },
      absent: (id) => ({ id, outcome: 'absent' }),
      describe: ({ id, outcome }) => `image ${id} ${outcome === 'absent' ? 'was absent already' : 'was deleted'}`,
    });
  });
}
