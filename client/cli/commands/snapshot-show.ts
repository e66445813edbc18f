import type { Command } from 'commander';
import { getSnapshot } from '../../reads';
import { showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveSnapshot } from '../resolve';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';

export function registerSnapshotShow(snapshot: Command): void {
  const command = snapshot
    .command('show')
    .description('show a snapshot')
    .argument('<snapshot>', 'the snapshot: its id, the first digits of it, or its name');
  withSharedOptions(withProjectOptions(command)).action(
    async (called: string, options: SharedOptions & ProjectOptions) => {
      await showFound(
        options,
        async (cache) => {
          const projectId = projectOf(cache.settings, options);
          return await getSnapshot(cache, await resolveSnapshot(cache, called, projectId), { projectId });
        },
        (found) => showRecord(found, { id: 'snapshotId' }, options),
      );
    },
  );
}
