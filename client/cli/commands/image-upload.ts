import { stat } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import { supportedDiskFormats } from '../../../workflows/contract/image';
import { failureError, ImageVolumeCacheError } from '../../errors';
import { print, printJson } from '../output/print';
import { createProgressView } from '../output/progress';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { abortOnSignals } from '../signals';
import { collectPairs, parseWholeNumber } from '../values';
import { describeImage } from './image-show';

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
    .description('put a file into the image service')
    .argument('<file>', 'the image')
    .option('--name <name>', 'its name (default: the name of the file)')
    .addOption(
      new Option('--disk-format <format>', 'its format (default: what its first bytes say)').choices(
        supportedDiskFormats,
      ),
    )
    .option('--container-format <format>', 'what it is wrapped in', 'bare')
    .option('--min-disk <GiB>', 'a volume of it must be at least so large', parseWholeNumber)
    .option('--property <key=value>', 'a property, such as os_distro=debian; may be repeated', collectPairs);
  withSharedOptions(command).action(upload);
}

async function upload(path: string, options: UploadOptions): Promise<void> {
  await expectFile(path);
  const signals = abortOnSignals();
  const view = createProgressView(process.stderr);
  const startedAt = Date.now();
  const onProgress = ({ bytesDone, bytesTotal }: { bytesDone: number; bytesTotal: number }): void => {
    const bytesPerSecond = (bytesDone / Math.max(1, Date.now() - startedAt)) * 1000;
    view.show({ stage: 'uploading', transfer: { bytesDone, bytesTotal, bytesPerSecond } });
  };
  try {
    const image = await withClient(options, (cache) =>
      cache.images().upload(path, { ...toRequest(options), onProgress, signal: signals.signal }),
    );
    view.end();
    if (options.json) printJson(image);
    else print(describeImage(image));
  } catch (error) {
    if (!signals.signal.aborted) throw error;
    throw new ImageVolumeCacheError({
      type: 'WaitInterrupted',
      message: 'interrupted: the image was taken away again',
      cause: error,
    });
  } finally {
    view.end();
    signals.release();
  }
}

/** What was left out keeps the library's default, so it must not be there as undefined. */
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
      value: `${path} (${error instanceof Error ? error.message : String(error)})`,
      allowed,
    });
  });
  if (!found.isFile() || found.size === 0)
    throw failureError('InvalidRequest', { field: 'file', value: path, allowed });
}
