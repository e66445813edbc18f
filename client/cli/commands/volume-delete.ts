import type { Command } from 'commander';
import type { DeleteVolumeResult } from '../../../workflows/contract/volume';
import { deleteVolume } from '../../volumes';
import { print, printJson } from '../output/print';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseUuid } from '../values';

export function registerVolumeDelete(volume: Command): void {
  const command = volume
    .command('delete')
    .description('delete a volume; a create that still runs is cancelled')
    .argument('<volume-id>', 'the volume', parseUuid);
  withSharedOptions(command).action(async (volumeId: string, options: SharedOptions) => {
    await runVerb(
      options,
      (cache, { signal }) => deleteVolume(cache, volumeId, { signal }),
      (result) => (options.json ? printJson(result) : print(describe(result))),
    );
  });
}

function describe({ volumeId, outcome, deletedParent }: DeleteVolumeResult): string {
  if (outcome === 'absent') return `volume ${volumeId} was absent already`;
  return `volume ${volumeId} was deleted${deletedParent === undefined ? '' : `, and its retired parent ${deletedParent} with it`}`;
}
