import { Option, type Command } from 'commander';
import { imageStatuses, type Image, type ImageStatus } from '../../../workflows/contract/image';
import type { ImageCatalog } from '../../images';
import { formatAge, formatOptionalBytes } from '../output/format';
import { print } from '../output/print';
import { formatTable } from '../output/table';
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
    ({ images }) => print(formatTable(head, images.map(toRow))),
  );
}

const head = ['IMAGE ID', 'NAME', 'STATUS', 'FORMAT', 'SIZE', 'VIRTUAL', 'VISIBILITY', 'AGE'];

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

function toRow({ id, name, status, diskFormat, sizeBytes, virtualSizeBytes, visibility, createdAt }: Image): string[] {
  return [
    id,
    name ?? '-',
    status,
    diskFormat ?? '-',
    formatOptionalBytes(sizeBytes),
    formatOptionalBytes(virtualSizeBytes),
    visibility,
    formatAge(createdAt),
  ];
}
