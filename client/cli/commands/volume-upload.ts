import { Option, type Command } from 'commander';
import {
  imageVisibilities,
  uploadDiskFormats,
  type ImageVisibility,
  type UploadDiskFormat,
} from '../../../workflows/contract/upload';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { withProgress } from '../output/progress';
import { isForProgram, showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { userName } from './evict';
import { resolveVolume } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, parseUuid } from '../values';

interface UploadOptions extends SharedOptions, ProjectOptions {
  name?: string;
  diskFormat?: UploadDiskFormat;
  containerFormat?: 'bare';
  visibility?: ImageVisibility;
  property?: Record<string, string>;
  imageId?: string;
  seedCache?: boolean;
  wait: boolean;
}

export function registerVolumeUpload(volume: Command): void {
  const command = volume
    .command('upload')
    .description('make an image of a volume, as it is at one moment')
    .argument('<volume>', 'the volume: its id, the first digits of it, or its name')
    .option('--name <name>', 'the image’s name (default: that of the volume)')
    .addOption(new Option('--disk-format <format>', 'its format').choices(uploadDiskFormats).default(undefined, 'raw'))
    .addOption(new Option('--container-format <format>', 'its container').choices(['bare']).default(undefined, 'bare'))
    .addOption(
      new Option('--visibility <who>', 'who may use it').choices(imageVisibilities).default(undefined, 'private'),
    )
    .option('--property <key=value>', 'a property, besides those of the volume’s image; may be repeated', collectPairs)
    .option('--image-id <uuid>', 'its id; the same request with the same id gives the same image', parseUuid)
    .option('--seed-cache', 'cache the image on the volume’s backend too, without a download')
    .option('--no-wait', 'start it and return');
  withSharedOptions(withProjectOptions(command)).action(upload);
}

async function upload(called: string, options: UploadOptions): Promise<void> {
  const { name, diskFormat, containerFormat, visibility, property: properties, imageId, seedCache } = options;
  const input = {
    imageId,
    name,
    diskFormat,
    containerFormat,
    visibility,
    properties,
    seedCache,
    by: userName(),
  };
  await runVerb(
    options,
    async (cache, waiting) => {
      const projectId = projectOf(cache.settings, options);
      const volumeId = await resolveVolume(cache, called, projectId);
      return await withProgress((onProgress) =>
        lazy.uploads.uploadVolume(cache, { ...input, volumeId, projectId }, { ...waiting, onProgress }),
      );
    },
    (ran) => {
      const tell = isForProgram(options) ? () => undefined : note;
      if (!('result' in ran)) tell(`image ${ran.imageId} is being made of volume ${ran.volumeId}`);
      return showRun(ran, options, {
        isFailed: ({ seeded }) => seeded?.outcome === 'failed',
        show: (done) => {
          showRecord(done, { id: 'imageId' }, options);
          tell(done.summary);
        },
      });
    },
  );
}
