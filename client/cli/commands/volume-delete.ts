import type { Command } from 'commander';
import type { DeleteVolumeResult } from '../../../workflows/contract/volume';
import { deleteVolume } from '../../volumes';
import { print, printJson } from '../output/print';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { abortOnSignals } from '../signals';
import { parseUuid } from '../values';

export function registerVolumeDelete(volume: Command): void {
  const command = volume
    .command('delete')
    .description('delete a volume; a create that still runs is cancelled')
    .argument('<volume-id>', 'the volume', parseUuid);
  withSharedOptions(command).action(remove);
}

async function remove(volumeId: string, options: SharedOptions): Promise<void> {
  const signals = abortOnSignals();
  try {
    const result = await withClient(options, (cache) => deleteVolume(cache, volumeId, { signal: signals.signal }));
    if (options.json) return printJson(result);
    print(describe(result));
  } finally {
    signals.release();
  }
}

function describe({ volumeId, outcome, deletedParent }: DeleteVolumeResult): string {
  if (outcome === 'absent') return `volume ${volumeId} was absent already`;
  return `volume ${volumeId} is deleted${deletedParent === undefined ? '' : `, and its retired parent ${deletedParent} with it`}`;
}
