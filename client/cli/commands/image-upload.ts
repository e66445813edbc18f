import { stat } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import { supportedDiskFormats, type Image } from '../../../workflows/contract/image';
import type { ImageVolumeCache } from '../../connection';
import { failureError, ImageVolumeCacheError } from '../../errors';
import { withProgress, type Shown } from '../output/progress';
import { showRecord } from '../output/show';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, parseWholeGiB } from '../values';
import { errorMessage } from '../../../lib/error-message';

interface UploadOptions extends SharedOptions {
  name?: string;
  diskFormat?: string;
  containerFormat: string;
  minDisk?: number;
  property?: Record<string, string>;
}

export function registerImageUpload(image: Command): void {
  const command = image
    .command('upload')
    .description('upload a file to the image service')
    .argument('<file>', 'the image')
    .option('--name <name>', 'its name (default: the name of the file)')
    .addOption(
      new Option('--disk-format <format>', 'its format (default: detected from its first bytes)').choices(
        supportedDiskFormats,
      ),
    )
    .option('--container-format <format>', 'its container format', 'bare')
    .option('--min-disk <size>', 'the least size of a volume made from it, in whole GiB, such as 10GiB', parseWholeGiB)
    .option('--property <key=value>', 'a property, such as os_distro=debian; may be repeated', collectPairs);
  withSharedOptions(command).action(upload);
}

async function upload(path: string, options: UploadOptions): Promise<void> {
  await expectFile(path);
  await runVerb(
    options,
    (cache, { signal }) => withProgress((show) => uploadFile(cache, path, { options, show, signal })),
    (image) => showRecord(image, { id: 'id' }, options),
  );
}

interface Uploading {
  options: UploadOptions;
  show: (report: Shown) => void;
  signal: AbortSignal;
}

async function uploadFile(cache: ImageVolumeCache, path: string, { options, show, signal }: Uploading): Promise<Image> {
  const startedAt = Date.now();
  const onProgress = ({ bytesDone, bytesTotal }: { bytesDone: number; bytesTotal: number }): void => {
    const bytesPerSecond = (bytesDone / Math.max(1, Date.now() - startedAt)) * 1000;
    show({ stage: 'uploading', transfer: { bytesDone, bytesTotal, bytesPerSecond } });
  };
  try {
    return await (await cache.images()).upload(path, { ...toRequest(options), onProgress, signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new ImageVolumeCacheError({
      type: 'WaitInterrupted',
      message: 'interrupted: the image was removed',
      cause: error,
    });
  }
}

/** Options that were left out keep the library's default, so they must not be present as undefined. */
function toRequest({ name, diskFormat, containerFormat, minDisk, property }: UploadOptions) {
  return {
    containerFormat,
    ...(name !== undefined && { name }),
    ...(diskFormat !== undefined && { diskFormat }),
    ...(minDisk !== undefined && { minDiskGiB: minDisk }),
    ...(property !== undefined && { properties: property }),
  };
}

async function expectFile(path: string): Promise<void> {
  const allowed = 'a readable file that is not empty';
  const found = await stat(path).catch((error: unknown) => {
    throw failureError('InvalidRequest', {
      field: 'file',
      value: `${path} (${errorMessage(error)})`,
      allowed,
    });
  });
  if (!found.isFile() || found.size === 0)
    throw failureError('InvalidRequest', { field: 'file', value: path, allowed });
}
