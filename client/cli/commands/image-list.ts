import { Option, type Command } from 'commander';
import { imageStatuses, type Image, type ImageStatus } from '../../../workflows/contract/image';
import type { ImageCatalog } from '../../images';
import { showList, type ListView } from '../output/show';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseCount } from '../values';

const DEFAULT_LIMIT = 200;
const PAGE = 100;

interface ListOptions extends SharedOptions {
  name?: string;
  status?: ImageStatus;
  limit: number;
}

export function registerImageList(image: Command): void {
  const command = image
    .command('list')
    .description('list images, the newest first')
    .option('--name <name>', 'only with this name')
    .addOption(new Option('--status <status>', 'only in this status').choices(imageStatuses))
    .option('--limit <n>', 'at most this many', parseCount, DEFAULT_LIMIT);
  withSharedOptions(command).action(list);
}

async function list({ name, status, limit, ...shared }: ListOptions): Promise<void> {
  await showFound(
    shared,
    async (cache) => ({ images: await readPages(await cache.images(), { name, status, limit }) }),
    (found) => showList(found, view, shared),
  );
}

const view: ListView<Image> = {
  list: 'images',
  id: 'id',
  columns: ['id', 'name', 'status', 'diskFormat', 'sizeBytes', 'createdAt'],
  more: ['virtualSizeBytes', 'visibility', 'owner', 'containerFormat', 'minDiskGiB', 'tags'],
  empty: 'no images',
};

async function readPages(
  catalog: ImageCatalog,
  { name, status, limit }: { name?: string; status?: ImageStatus; limit: number },
): Promise<Image[]> {
  const images: Image[] = [];
  let marker: string | undefined;
  do {
    const page = await catalog.listImages({ name, status, marker, limit: Math.min(PAGE, limit - images.length) });
    images.push(...page.images);
    marker = page.nextMarker;
  } while (marker !== undefined && images.length < limit);
  return images;
}
