import type { Command } from 'commander';
import type { Image } from '../../../workflows/contract/image';
import { formatOptionalBytes, formatPairs } from '../output/format';
import { print, printJson } from '../output/print';
import { formatRecord } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseUuid } from '../values';

export function registerImageShow(image: Command): void {
  const command = image.command('show').description('show an image').argument('<image-id>', 'the image', parseUuid);
  withSharedOptions(command).action(show);
}

async function show(imageId: string, options: SharedOptions): Promise<void> {
  const image = await withClient(options, (cache) => cache.images().getImage(imageId));
  if (options.json) return printJson(image);
  print(describeImage(image));
}

export function describeImage(image: Image): string[] {
  return formatRecord({
    imageId: image.id,
    name: image.name ?? undefined,
    status: image.status,
    visibility: image.visibility,
    owner: image.owner ?? undefined,
    format: `${image.diskFormat ?? '-'} in ${image.containerFormat ?? '-'}`,
    size: formatOptionalBytes(image.sizeBytes),
    virtualSize: formatOptionalBytes(image.virtualSizeBytes),
    minDisk: `${image.minDiskGiB} GiB`,
    hash: image.hashValue === null ? undefined : `${image.hashAlgorithm} ${image.hashValue}`,
    tags: image.tags.join(', ') || undefined,
    properties: formatPairs(image.properties) || undefined,
    createdAt: image.createdAt,
    updatedAt: image.updatedAt,
  });
}
