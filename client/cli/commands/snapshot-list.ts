import { Option, type Command } from 'commander';
import { snapshotStates, type SnapshotState } from '../../../workflows/contract/snapshot';
import type { Snapshot } from '../../records';
import { expectBackend, listSnapshots } from '../../reads';
import { showList, type ListView } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveVolume } from '../resolve';
import { noteNextPage, showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parseCount, parseUuid } from '../values';

interface ListOptions extends SharedOptions, ProjectOptions {
  volume?: string;
  backend?: string;
  state?: SnapshotState;
  limit: number;
  after?: string;
}

const PAGE_SNAPSHOTS = 200;

export function registerSnapshotList(snapshot: Command): void {
  const command = snapshot
    .command('list')
    .description('list the snapshots of a project, the newest first')
    .option('--volume <volume>', 'only of this volume: its id, the first digits of it, or its name')
    .option('--backend <name>', 'only on this backend', parseBackend)
    .addOption(new Option('--state <state>', 'only in this state (default: all but deleted)').choices(snapshotStates))
    .option('--limit <n>', 'at most this many', parseCount, PAGE_SNAPSHOTS)
    .option('--after <snapshot-id>', 'the next page: the snapshots after this one', parseUuid);
  withSharedOptions(withProjectOptions(command)).action(list);
}

async function list({ volume, backend, state, limit, after, ...options }: ListOptions): Promise<void> {
  await showFound(
    options,
    async (cache) => {
      await expectBackend(cache, backend);
      const projectId = projectOf(cache.settings, options);
      const volumeId = volume && (await resolveVolume(cache, volume, projectId));
      const snapshots = await listSnapshots(cache, { volumeId, backend, projectId, state, limit, after });
      return { snapshots, next: snapshots.length < limit ? null : (snapshots.at(-1)?.snapshotId ?? null) };
    },
    (found) => {
      showList(found, view, options);
      noteNextPage(found.next, options);
    },
  );
}

const view: ListView<Snapshot> = {
  list: 'snapshots',
  id: 'snapshotId',
  columns: ['snapshotId', 'name', 'state', 'sizeBytes', 'volumeId', 'createdAt'],
  more: ['backend', 'projectId', 'description', 'metadata'],
  empty: 'no snapshots',
};
