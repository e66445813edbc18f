import type { Command } from 'commander';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { DeleteVolumeResult } from '../../../workflows/contract/volume';
import { plural } from '../../../workflows/contract/words';
import type { ImageVolumeCache } from '../../connection';
import { failureError } from '../../errors';
import { deleteEach, type DeleteEachOptions } from '../delete-each';
import { lazy } from '../lazy';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveVolume } from '../resolve';
import { withSharedOptions } from '../run-verb';
import { collectTexts } from '../values';
import { userName } from './evict';

interface DeleteOptions extends DeleteEachOptions, ProjectOptions {
  force?: boolean;
  cascade?: boolean;
}

export function registerVolumeDelete(volume: Command): void {
  const command = volume
    .command('delete')
    .description('delete volumes; a create that still runs is cancelled')
    .argument('<volume...>', 'the volumes: ids, the first digits of them, or names', collectTexts)
    .option('--cascade', 'delete its snapshots first; without it, a volume that has any is kept')
    .option(
      '--force',
      'for operators: end a create that hangs, and take no note of an attachment; never while it is open',
    )
    .option('--ignore-missing', 'a volume that there is not is as good as deleted');
  withSharedOptions(withProjectOptions(command)).action(async (called: string[], options: DeleteOptions) => {
    await deleteEach<DeleteVolumeResult>(called, options, {
      id: 'volumeId',
      remove: (cache, one, { signal }) => remove(cache, one, { ...options, signal }),
      absent: (one) => ({ volumeId: one as VolumeId, outcome: 'absent' }),
      describe,
    });
  });
}

async function remove(
  cache: ImageVolumeCache,
  called: string,
  { signal, force, cascade, ...options }: DeleteOptions & { signal: AbortSignal },
): Promise<DeleteVolumeResult> {
  const projectId = ownerOf(cache, { force, ...options });
  const volumeId = await resolveVolume(cache, called, projectId);
  const given = { signal, projectId, by: userName(), force, cascade };
  const result = await lazy.volumes.deleteVolume(cache, volumeId, given);
  if (result.outcome === 'absent' && !(await wasThere(cache, volumeId)))
    throw failureError('VolumeNotFound', { volumeId });
  return result;
}

async function wasThere(cache: ImageVolumeCache, volumeId: string): Promise<boolean> {
  return (await (await cache.inventory()).findVolume(volumeId as VolumeId)) !== undefined;
}

/** A forced delete is an operator's. */
function ownerOf({ settings }: ImageVolumeCache, options: DeleteOptions): string | undefined {
  return options.force && options.project === undefined ? undefined : projectOf(settings, options);
}

function describe({ volumeId, outcome, deletedParent, deletedSnapshots = [] }: DeleteVolumeResult): string {
  if (outcome === 'absent') return `volume ${volumeId} was absent already`;
  const parent = deletedParent === undefined ? '' : `, and its retired parent ${deletedParent} with it`;
  const snapshots = deletedSnapshots.length === 0 ? '' : `, after ${plural(deletedSnapshots.length, 'snapshot')}`;
  return `volume ${volumeId} was deleted${parent}${snapshots}`;
}
