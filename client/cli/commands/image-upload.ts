import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { Option, type Command } from 'commander';
import { supportedDiskFormats, type Image } from '../../../workflows/contract/image';
import { failureError } from '../../errors';
import type { ImageCatalog } from '../../images';
import { print, printJson } from '../output/print';
import { createProgressView, type ProgressView } from '../output/progress';
import { createTransferMeter } from '../output/transfer-meter';
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

/** Read at once: a stream's default of 64 KiB costs twice the time. */
const CHUNK_BYTES = 1024 * 1024;

export function registerImageUpload(image: Command): void {
  const command = image
    .command('upload')
    .description('put a file into the image service')
    .argument('<file>', 'the image')
    .option('--name <name>', 'its name (default: the name of the file)')
    .addOption(new Option('--disk-format <format>', 'its format (default: what the file’s first bytes say)').choices(supportedDiskFormats))
    .option('--container-format <format>', 'what it is wrapped in', 'bare')
    .option('--min-disk <GiB>', 'a volume of it must be at least so large', parseWholeNumber)
    .option('--property <key=value>', 'a property, such as os_distro=debian; may be repeated', collectPairs);
  withSharedOptions(command).action(upload);
}

async function upload(path: string, options: UploadOptions): Promise<void> {
  const sizeBytes = await sizeOf(path);
  const diskFormat = options.diskFormat ?? (await detectFormat(path));
  const signals = abortOnSignals();
  const view = createProgressView(process.stderr);
  try {
    const image = await withClient(options, async (cache) => {
      const catalog = cache.images();
      const { id } = await catalog.createImage({
        name: options.name ?? basename(path, extname(path)),
        diskFormat,
        containerFormat: options.containerFormat,
        minDiskGiB: options.minDisk,
        properties: options.property,
      });
      return await fill(catalog, id, { path, sizeBytes, view, signal: signals.signal });
    });
    view.end();
    if (options.json) printJson(image);
    else print(describeImage(image));
  } finally {
    view.end();
    signals.release();
  }
}

interface Source {
  path: string;
  sizeBytes: number;
  view: ProgressView;
  signal: AbortSignal;
}

/** Sends the bytes; a record whose bytes did not arrive is taken away again. */
async function fill(catalog: ImageCatalog, imageId: string, { path, sizeBytes, view, signal }: Source): Promise<Image> {
  const meter = createTransferMeter({ stage: 'uploading', bytesTotal: sizeBytes, view });
  try {
    const body = meter(createReadStream(path, { highWaterMark: CHUNK_BYTES }));
    await catalog.uploadImage({ imageId, body, sizeBytes, signal });
  } catch (error) {
    await catalog.deleteImage(imageId);
    throw error;
  }
  return await catalog.getImage(imageId);
}

async function sizeOf(path: string): Promise<number> {
  const allowed = 'a readable file that is not empty';
  try {
    const found = await stat(path);
    if (found.isFile() && found.size > 0) return found.size;
  } catch (error) {
    throw failureError('InvalidRequest', { field: 'file', value: `${path} (${error instanceof Error ? error.message : String(error)})`, allowed });
  }
  throw failureError('InvalidRequest', { field: 'file', value: path, allowed });
}

const QCOW2_MAGIC = Buffer.from([0x51, 0x46, 0x49, 0xfb]);

/** Only a convenience for the record: a worker inspects what it downloads and refuses what is declared wrongly. */
async function detectFormat(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(QCOW2_MAGIC.length), 0, QCOW2_MAGIC.length, 0);
    return buffer.equals(QCOW2_MAGIC) ? 'qcow2' : 'raw';
  } finally {
    await file.close();
  }
}
