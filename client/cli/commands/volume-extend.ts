import type { Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import type { ExtendVolumeResult } from '../../../workflows/contract/volume-changes';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { isForProgram, showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveVolume } from '../resolve';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseVolumeSize } from '../values';
import { userName } from './evict';

interface ExtendOptions extends SharedOptions, ProjectOptions {
  size: number;
}

export function registerVolumeExtend(volume: Command): void {
  const command = volume
    .command('extend')
    .description('make a volume larger, attached or not')
    .argument('<volume>', 'the volume: its id, the first digits of it, or its name')
    .requiredOption(
      '--size <size>',
      'its new size, such as 10GiB or 1536MiB; never below what it has',
      parseVolumeSize,
    );
  withSharedOptions(withProjectOptions(command)).action(async (called: string, options: ExtendOptions) => {
    const { size: sizeBytes } = options;
    await runVerb(
      options,
      async (cache, { signal }) => {
        const projectId = projectOf(cache.settings, options);
        const volumeId = await resolveVolume(cache, called, projectId);
        return await lazy.volumes.extendVolume(cache, volumeId, { sizeBytes, signal, projectId, by: userName() });
      },
      (extended) => {
        showRecord(extended, { id: 'volumeId', text: describe }, options);
        const { openedBy } = extended;
        if (openedBy !== null && !isForProgram(options))
          note(`${openedBy} has it open: its guest must look for the new size (rescan the disk)`);
      },
    );
  });
}

function describe({ volumeId, sizeBytes, formerSizeBytes }: ExtendVolumeResult): string {
  return `volume ${volumeId} has ${formatBytes(sizeBytes)}, before ${formatBytes(formerSizeBytes)}`;
}
