import { Option, type Command } from 'commander';
import {
  failurePolicies,
  MAX_VOLUMES,
  type CreateVolumesInput,
  type FailurePolicy,
  type MadeVolume,
} from '../../../workflows/contract/volume';
import type { CreatedVolume, StartedVolume } from '../../volumes';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { withProgress } from '../output/progress';
import { formatRecord } from '../output/table';
import { isForProgram, showList, showRecord, type ListView } from '../output/show';
import { resolveSnapshot, resolveSource, resolveVolume } from '../resolve';
import { projectOf } from '../project';
import { progressHint, runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, parseBackend, parseCount, parseSizeBytes, parseUuid, parseVolumeSize } from '../values';
import { userName } from './evict';
import { qemuDrive } from '../output/attach';

interface CreateOptions extends SharedOptions {
  image?: string;
  snapshot?: string;
  sourceVolume?: string;
  size?: number;
  sizeBytes?: number;
  type?: string;
  backend?: string;
  project?: string;
  name?: string;
  volumeId?: string;
  metadata?: Record<string, string>;
  bypassCache?: boolean;
  count?: number;
  onFailure?: FailurePolicy;
  requestId?: string;
  wait: boolean;
}

export function registerVolumeCreate(volume: Command): void {
  const command = volume
    .command('create')
    .description('create a volume from an image, a snapshot or another volume, or an empty one')
    .option('--image <image>', 'the image: its id, the first digits of it, its name, or follow:NAME')
    .option('--snapshot <snapshot>', 'the snapshot whose bytes it has')
    .option('--source-volume <volume>', 'the volume whose bytes it has, as it is at one moment')
    .option(
      '--size <size>',
      'size, such as 10GiB or 1536MiB (default: what the image needs, or the source has; an empty volume has no other)',
      parseVolumeSize,
    )
    .option('--size-bytes <bytes>', 'the same; a number alone is bytes', parseSizeBytes)
    .option('--type <name>', 'volume type, which says where it may be (default: the default type, without --backend)')
    .option('--backend <name>', 'backend of the volume, or any (default: the default backend)', parseBackend)
    .option('--project <id>', 'the project that owns it (default: defaultProjectId of the configuration)')
    .option('--name <name>', 'its name')
    .option('--volume-id <uuid>', 'its id; the same request with the same id gives the same volume', parseUuid)
    .option('--metadata <key=value>', 'metadata of the volume; may be repeated', collectPairs)
    .option('--bypass-cache', 'write the image directly into the volume')
    .option('--count <n>', `make so many volumes in one run, at most ${MAX_VOLUMES}`, parseCount)
    .addOption(
      new Option('--on-failure <policy>', 'with --count, whether the others stay when a volume cannot be made')
        .choices(failurePolicies)
        .default(undefined, 'keep'),
    )
    .option('--request-id <uuid>', 'with --count: the same request with the same id gives the same volumes', parseUuid)
    .option('--no-wait', 'start it and return');
  withSharedOptions(command).action((options: CreateOptions) => create(options, command));
}

async function create(options: CreateOptions, command: Command): Promise<void> {
  if (options.size !== undefined && options.sizeBytes !== undefined) {
    command.error(`error: option '--size-bytes' got ${options.sizeBytes}, allowed is either it or --size`);
  }
  const {
    image,
    size,
    sizeBytes = size,
    backend,
    type: volumeType,
    project: projectId,
    name,
    volumeId,
    metadata,
  } = options;
  const { bypassCache, count } = options;
  refuseMixed(options, command);
  refuseSources(options, command);
  if (image === undefined) return await createPlain({ ...options, sizeBytes }, command);
  const shared = { sizeBytes, backend, volumeType, projectId, name, metadata, by: userName() };
  if (count !== undefined) return await createMany({ ...shared, image, count }, options);
  const input = { ...shared, volumeId, bypassCache };
  await runVerb(
    options,
    async (cache, { wait, signal }) => {
      const imageId = await resolveSource(cache, image);
      return await withProgress((onProgress) =>
        lazy.volumes.createVolume(cache, { ...input, imageId }, { wait, onProgress, signal }),
      );
    },
    (volume) => show(volume, options),
  );
}

/** Of a snapshot or another volume, or empty. */
async function createPlain(options: CreateOptions, command: Command): Promise<void> {
  const { snapshot, sourceVolume, sizeBytes, backend, project: projectId, name } = options;
  const { volumeId, metadata, count, bypassCache } = options;
  if (snapshot === undefined && sourceVolume === undefined && sizeBytes === undefined)
    command.error(
      "error: nothing was given of '--image', '--snapshot', '--source-volume', and '--size' for an empty volume",
    );
  if (count !== undefined || bypassCache !== undefined)
    command.error("error: options '--count' and '--bypass-cache' are for volumes from an image");
  const input = { sizeBytes, backend, projectId, name, volumeId, metadata, by: userName() };
  await runVerb(
    options,
    async (cache, { wait, signal }) => {
      const owner = projectOf(cache.settings, options);
      const snapshotId = snapshot && (await resolveSnapshot(cache, snapshot, owner));
      const sourceVolumeId = sourceVolume && (await resolveVolume(cache, sourceVolume, owner));
      return await withProgress((onProgress) =>
        lazy.volumes.createVolume(cache, { ...input, snapshotId, sourceVolumeId }, { wait, onProgress, signal }),
      );
    },
    (volume) => show(volume, options),
  );
}

/** Each of them says where the bytes come from. */
function refuseSources({ image, snapshot, sourceVolume }: CreateOptions, command: Command): void {
  const given = Object.entries({ '--image': image, '--snapshot': snapshot, '--source-volume': sourceVolume })
    .filter(([, value]) => value !== undefined)
    .map(([option]) => option);
  if (given.length > 1) command.error(`error: options ${given.join(' and ')} were given, allowed is one of them`);
}

/** Refuses options of one volume for many, and the other way round. */
function refuseMixed({ count, volumeId, bypassCache, onFailure, requestId }: CreateOptions, command: Command): void {
  const ofOne = { '--volume-id': volumeId, '--bypass-cache': bypassCache };
  const ofMany = { '--on-failure': onFailure, '--request-id': requestId };
  const [found] = Object.entries(count === undefined ? ofMany : ofOne).find(([, value]) => value !== undefined) ?? [];
  if (found === undefined) return;
  const allowed = count === undefined ? 'it beside --count only' : 'it without --count only';
  command.error(`error: option '${found}' was given, allowed is ${allowed}`);
}

async function createMany(
  { image, ...input }: Omit<CreateVolumesInput, 'imageId'> & { image: string },
  options: CreateOptions,
): Promise<void> {
  const { onFailure, requestId } = options;
  await runVerb(
    options,
    async (cache, { wait, signal }) => {
      const imageId = await resolveSource(cache, image);
      return await withProgress((onProgress) =>
        lazy.volumes.createVolumes(cache, { ...input, imageId, onFailure, requestId }, { wait, onProgress, signal }),
      );
    },
    (ran) =>
      showRun(ran, options, {
        isFailed: ({ failed }) => failed.length > 0,
        show: (made) => {
          showList(made, ofMany, options);
          if (isForProgram(options)) return;
          for (const { volumeId, failure } of made.failed) note(`volume ${volumeId} failed: ${failure.message}`);
          note(made.summary);
        },
      }),
  );
}

const ofMany: ListView<MadeVolume> = {
  list: 'volumes',
  id: 'volumeId',
  columns: ['volumeId', 'name', 'outcome', 'sizeBytes', 'backend'],
  more: ['connection'],
  empty: 'no volumes',
};

function show(volume: CreatedVolume | StartedVolume, options: CreateOptions): void {
  const tell = isForProgram(options) ? () => undefined : note;
  if (volume.reused) note(`volume ${volume.volumeId} was being created already: this request joined that run`);
  if ('outcome' in volume) {
    const below = () => formatRecord({ qemu: qemuDrive(volume.connection) });
    return showRecord(volume, { id: 'volumeId', hidden: ['runId', 'reused'], below }, options);
  }
  showRecord(volume, { id: 'volumeId' }, options);
  tell(progressHint(volume.workflowId, options.project));
}
