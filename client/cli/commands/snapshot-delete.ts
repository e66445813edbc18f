import type { Command } from 'commander';
import type { SnapshotId } from '../../../workflows/contract/ids';
import type { DeleteSnapshotResult } from '../../../workflows/contract/snapshot';
import type { ImageVolumeCache } from '../../connection';
import { failureError } from '../../errors';
import { deleteEach, type DeleteEachOptions } from '../delete-each';
import { lazy } from '../lazy';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveSnapshot } from '../resolve';
import { withSharedOptions } from '../run-verb';
import { collectTexts } from '../values';
import { userName } from './evict';

type DeleteOptions = DeleteEachOptions & ProjectOptions;

export function registerSnapshotDelete(snapshot: Command): void {
  const command = snapshot
    .command('delete')
    .description('delete snapshots; volumes that were made of them stay')
    .argument('<snapshot...>', 'the snapshots: ids, the first digits of them, or names', collectTexts)
    .option('--ignore-missing', 'a snapshot that there is not is as good as deleted');
  withSharedOptions(withProjectOptions(command)).action(async (called: string[], options: DeleteOptions) => {
    await deleteEach<DeleteSnapshotResult>(called, options, {
      id: 'snapshotId',
      remove: (cache, one, { signal }) => remove(cache, one, { ...options, signal }),
      absent: (one) => ({ snapshotId: one as SnapshotId, outcome: 'absent' }),
      describe,
    });
  });
}

async function remove(
  cache: ImageVolumeCache,
  called: string,
  { signal, ...options }: DeleteOptions & { signal: AbortSignal },
): Promise<DeleteSnapshotResult> {
  const projectId = projectOf(cache.settings, options);
  const snapshotId = await resolveSnapshot(cache, called, projectId);
  const result = await lazy.snapshots.deleteSnapshot(cache, snapshotId, { signal, projectId, by: userName() });
  if (result.outcome === 'absent' && !(await wasThere(cache, snapshotId)))
    throw failureError('SnapshotNotFound', { snapshotId });
  return result;
}

async function wasThere(cache: ImageVolumeCache, snapshotId: string): Promise<boolean> {
  return (await (await cache.inventory()).findSnapshot(snapshotId as SnapshotId)) !== undefined;
}

function describe({ snapshotId, outcome }: DeleteSnapshotResult): string {
  return `snapshot ${snapshotId} ${outcome === 'absent' ? 'was absent already' : 'was deleted'}`;
}
