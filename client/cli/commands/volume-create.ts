import { Option, type Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import {
  failurePolicies,
  MAX_VOLUMES,
  type CreateVolumesInput,
  type FailurePolicy,
  type MadeVolume,
} from '../../../workflows/contract/volume';
import { createVolume, createVolumes, type CreatedVolume, type StartedVolume } from '../../volumes';
import { formatConnection } from '../output/format';
import { note, print, printJson } from '../output/print';
import { withProgress } from '../output/progress';
import { formatRecord, formatTable } from '../output/table';
import { progressHint, runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, parseBackend, parseCount, parseSize, parseSizeBytes, parseUuid } from '../values';
import { formatDuration } from '../../../workflows/contract/words';
import { qemuDrive } from '../output/attach';

interface CreateOptions extends SharedOptions {
  image: string;
  size?: number;
  sizeBytes?: number;
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
    .description('create a bootable volume from an image')
    .requiredOption('--image <id>', 'the image')
    .option('--size <GiB>', 'size: 10, 10GiB or 1536MiB (default: what the image needs)', parseSize)
    .option('--size-bytes <bytes>', 'size in bytes, a multiple of 512', parseSizeBytes)
    .option('--backend <name>', 'backend of the volume (default: the default backend)', parseBackend)
    .option('--project <id>', 'the project that owns it')
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
  const { image: imageId, size, sizeBytes = size, backend, project: projectId, name, volumeId, metadata } = options;
  const { bypassCache, count } = options;
  refuseMixed(options, command);
  const shared = { imageId, sizeBytes, backend, projectId, name, metadata };
  if (count !== undefined) return await createMany({ ...shared, count }, options);
  const input = { ...shared, volumeId, bypassCache };
  await runVerb(
    options,
    (cache, { wait, signal }) => withProgress((onProgress) => createVolume(cache, input, { wait, onProgress, signal })),
    (volume) => show(volume, options),
  );
}

/** What is said of one volume is not said of many, nor the other way round. */
function refuseMixed({ count, volumeId, bypassCache, onFailure, requestId }: CreateOptions, command: Command): void {
  const ofOne = { '--volume-id': volumeId, '--bypass-cache': bypassCache };
  const ofMany = { '--on-failure': onFailure, '--request-id': requestId };
  const [found] = Object.entries(count === undefined ? ofMany : ofOne).find(([, value]) => value !== undefined) ?? [];
  if (found === undefined) return;
  const allowed = count === undefined ? 'it beside --count only' : 'it without --count only';
  command.error(`error: option '${found}' was given, allowed is ${allowed}`);
}

async function createMany(input: CreateVolumesInput, options: CreateOptions): Promise<void> {
  const { onFailure, requestId } = options;
  await runVerb(
    options,
    (cache, { wait, signal }) =>
      withProgress((onProgress) =>
        createVolumes(cache, { ...input, onFailure, requestId }, { wait, onProgress, signal }),
      ),
    (ran) =>
      showRun(ran, options, {
        isFailed: ({ failed }) => failed.length > 0,
        show: ({ volumes, failed, summary }) => {
          if (volumes.length > 0)
            print(formatTable(['VOLUME ID', 'NAME', 'OUTCOME', 'SIZE', 'CONNECTION'], volumes.map(toRow)));
          for (const { volumeId, failure } of failed) note(`volume ${volumeId} failed: ${failure.message}`);
          note(summary);
        },
      }),
  );
}

function toRow({ volumeId, name, outcome, sizeBytes, connection }: MadeVolume): string[] {
  return [volumeId, name ?? '-', outcome, formatBytes(sizeBytes), formatConnection(connection)];
}

function show(volume: CreatedVolume | StartedVolume, { json }: CreateOptions): void {
  if (volume.reused) note(`volume ${volume.volumeId} was being created already: this request joined that run`);
  if (json) return printJson(volume);
  if (!('outcome' in volume)) {
    print(formatRecord({ volumeId: volume.volumeId, workflowId: volume.workflowId }));
    return note(progressHint(volume.workflowId));
  }
  print(
    formatRecord({
      volumeId: volume.volumeId,
      name: volume.name ?? undefined,
      outcome: `${volume.outcome}: ${volume.reason}`,
      backend: volume.backend,
      size: formatBytes(volume.sizeBytes),
      connection: formatConnection(volume.connection),
      qemu: qemuDrive(volume.connection),
      downloaded: formatBytes(volume.bytesDownloaded),
      time: volume.timingsMs.total === undefined ? undefined : formatDuration(volume.timingsMs.total),
      workflowId: volume.workflowId,
    }),
  );
}
