import { Option, type Command } from 'commander';
import { volumeStates, type VolumeState } from '../../../workflows/contract/volume';
import type { Volume } from '../../records';
import { listVolumes } from '../../volumes';
import { formatAge, formatOptionalBytes } from '../output/format';
import { note, print } from '../output/print';
import { formatTable } from '../output/table';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parseCount, parseUuid } from '../values';

interface ListOptions extends SharedOptions {
  backend?: string;
  project?: string;
  state?: VolumeState;
  limit: number;
  after?: string;
}

const PAGE_VOLUMES = 200;

export function registerVolumeList(volume: Command): void {
  const command = volume
    .command('list')
    .description('list volumes, the newest first')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .option('--project <id>', 'only of this project')
    .addOption(new Option('--state <state>', 'only in this state (default: all but deleted)').choices(volumeStates))
    .option('--limit <n>', 'at most this many', parseCount, PAGE_VOLUMES)
    .option('--after <volume-id>', 'the next page: the volumes after this one', parseUuid);
  withSharedOptions(command).action(list);
}

async function list({ backend, project, state, limit, after, ...shared }: ListOptions): Promise<void> {
  await showFound(
    shared,
    async (cache) => {
      const volumes = await listVolumes(cache, { backend, projectId: project, state, limit, after });
      return { volumes, next: volumes.length < limit ? null : (volumes.at(-1)?.volumeId ?? null) };
    },
    ({ volumes, next }) => {
      print(formatTable(head, volumes.map(toRow)));
      if (next !== null) note(`there may be more: --after ${next}`);
    },
  );
}

const head = ['VOLUME ID', 'NAME', 'STATE', 'SIZE', 'BACKEND', 'OUTCOME', 'IMAGE', 'PROJECT', 'AGE'];

function toRow({ volumeId, name, state, backend, outcome, imageId, projectId, ...volume }: Volume): string[] {
  const [size, age] = [formatOptionalBytes(volume.sizeBytes), formatAge(volume.createdAt)];
  return [volumeId, name ?? '-', state, size, backend, outcome ?? '-', imageId, projectId, age];
}
