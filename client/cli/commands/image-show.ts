import type { Command } from 'commander';
import type { Image } from '../../../workflows/contract/image';
import { formatOptionalBytes, formatPairs } from '../output/format';
import { print } from '../output/print';
import { formatRecord } from '../output/table';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseUuid } from '../values';

export function registerImageShow(image: Command): void {
  const command = image.command('show').description('show an image').argument('<image-id>', 'the image', parseUuid);
  withSharedOptions(command).action(async (imageId: string, options: SharedOptions) => {
    await showFound(
      options,
      async (cache) => await (await cache.images()).getImage(imageId),
      (found) => print(describeImage(found)),
    );
  });
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
