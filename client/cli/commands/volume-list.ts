import { Option, type Command } from 'commander';
import { volumeStates, type VolumeState } from '../../../workflows/contract/volume';
import { volumeOrders, type VolumeSort } from '../../../workflows/contract/volume-changes';
import type { ImageVolume, Volume } from '../../records';
import { expectBackend, listImageVolumes, listVolumes } from '../../reads';
import { note, print } from '../output/print';
import { describeRows, isForProgram, showList, type ListColumn, type ListView } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveImage } from '../resolve';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, parseBackend, parseCount, parseSort, parseUuid } from '../values';

interface ListOptions extends SharedOptions, ProjectOptions {
  backend?: string;
  state?: VolumeState;
  name?: string;
  image?: string;
  property?: Record<string, string>;
  bootable?: boolean;
  nonBootable?: boolean;
  sort?: VolumeSort;
  limit: number;
  after?: string;
  all?: boolean;
}

const PAGE_VOLUMES = 200;

export function registerVolumeList(volume: Command): void {
  const command = volume
    .command('list')
    .description('list the volumes of a project, the newest first')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .addOption(new Option('--state <state>', 'only in this state (default: all but deleted)').choices(volumeStates))
    .option('--name <name>', 'only with this name')
    .option('--image <image>', 'only from this image: its id, the first digits of it, or its name')
    .option('--property <key=value>', 'only with this metadata; may be repeated', collectPairs)
    .addOption(new Option('--bootable', 'only bootable ones').conflicts('nonBootable'))
    .option('--non-bootable', 'only ones that are not bootable')
    .option('--sort <key[:asc|desc]>', `order: ${volumeOrders.join(', ')} (default: createdAt:desc)`, parseSort)
    .option('--limit <n>', 'at most this many', parseCount, PAGE_VOLUMES)
    .option('--after <volume-id>', 'the next page: the volumes after this one', parseUuid);
  withProjectOptions(command).addOption(
    new Option(
      '--all',
      'for operators: of all projects, and the image-volumes, which the internal tenant owns',
    ).conflicts(['project', 'state', 'after']),
  );
  withSharedOptions(command).action(list);
}

async function list({
  backend,
  state,
  name,
  image,
  property,
  sort,
  limit,
  after,
  all,
  ...options
}: ListOptions): Promise<void> {
  const bootable = options.nonBootable ? false : options.bootable;
  const filter = { backend, state, name, metadata: property, bootable, sort, limit, after };
  await showFound(
    options,
    async (cache) => {
      await expectBackend(cache, backend);
      const projectId = all ? undefined : projectOf(cache.settings, options);
      const imageId = image && (await resolveImage(cache, image));
      const volumes = await listVolumes(cache, { ...filter, imageId, projectId });
      const next = volumes.length < limit ? null : (volumes.at(-1)?.volumeId ?? null);
      return { volumes, next, ...(all && { imageVolumes: await listImageVolumes(cache, { backend, limit }) }) };
    },
    (found) => {
      showList(found, view, options);
      if (isForProgram(options)) return;
      const { next, imageVolumes = [] } = found;
      if (next !== null) note(`there may be more: --${all ? 'all-projects --' : ''}after ${next}`);
      if (all) print(['', ...describeRows(imageVolumes, ofImageVolumes, { empty: 'no image-volumes' })]);
      if (imageVolumes.length === limit) note('there may be more image-volumes: `ivc cache list` has their pages');
    },
  );
}

const view: ListView<Volume> = {
  list: 'volumes',
  id: 'volumeId',
  columns: ['volumeId', 'name', 'state', 'sizeBytes', 'backend', 'createdAt'],
  more: ['outcome', 'imageId', 'projectId', 'volumeType', 'bootable', 'attachedTo', 'entryId'],
  empty: 'no volumes',
};

const ofImageVolumes: ListColumn<ImageVolume>[] = [
  { name: 'entryId', head: 'IMAGE-VOLUME OF ENTRY' },
  'state',
  'sizeBytes',
  'backend',
  'createdAt',
  'projectId',
  'imageIds',
];
