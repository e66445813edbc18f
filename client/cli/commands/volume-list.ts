import { Option, type Command } from 'commander';
import { volumeStates, type VolumeState } from '../../../workflows/contract/volume';
import type { Volume } from '../../records';
import { listVolumes } from '../../volumes';
import { formatAge, formatOptionalBytes } from '../output/format';
import { print, printJson } from '../output/print';
import { formatTable } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseBackend, parseCount } from '../values';

interface ListOptions extends SharedOptions {
  backend?: string;
  project?: string;
  state?: VolumeState;
  limit?: number;
}

export function registerVolumeList(volume: Command): void {
  const command = volume
    .command('list')
    .description('list volumes, the newest first')
    .option('--backend <name>', 'only of this backend', parseBackend)
    .option('--project <id>', 'only of this project')
    .addOption(new Option('--state <state>', 'only in this state (default: all but deleted)').choices(volumeStates))
    .option('--limit <n>', 'at most so many', parseCount);
  withSharedOptions(command).action(list);
}

async function list({ backend, project, state, limit, ...shared }: ListOptions): Promise<void> {
  const volumes = await withClient(shared, (cache) =>
    listVolumes(cache, { backend, projectId: project, state, limit }),
  );
  if (shared.json) return printJson({ volumes });
  print(
    formatTable(
      ['VOLUME ID', 'NAME', 'STATE', 'SIZE', 'BACKEND', 'OUTCOME', 'IMAGE', 'PROJECT', 'AGE'],
      volumes.map(toRow),
    ),
  );
}

function toRow({
  volumeId,
  name,
  state,
  sizeBytes,
  backend,
  outcome,
  imageId,
  projectId,
  createdAt,
}: Volume): string[] {
  return [
    volumeId,
    name ?? '-',
    state,
    formatOptionalBytes(sizeBytes),
    backend,
    outcome ?? '-',
    imageId,
    projectId,
    formatAge(createdAt),
  ];
}
