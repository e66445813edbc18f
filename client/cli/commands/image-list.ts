import { Option, type Command } from 'commander';
import { imageStatuses, type Image, type ImageStatus } from '../../../workflows/contract/image';
import type { ImageCatalog } from '../../images';
import { formatAge, formatOptionalBytes } from '../output/format';
import { print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
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
    .option('--limit <n>', 'at most so many', parseCount, DEFAULT_LIMIT);
  withSharedOptions(command).action(list);
}

async function list({ name, status, limit, ...shared }: ListOptions): Promise<void> {
  const images = await withClient(shared, (cache) => readPages(cache.images(), { name, status, limit }));
  if (shared.json) return printJson({ images });
  print(
    formatTable(['IMAGE ID', 'NAME', 'STATUS', 'FORMAT', 'SIZE', 'VIRTUAL', 'VISIBILITY', 'AGE'], images.map(toRow)),
  );
}

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
