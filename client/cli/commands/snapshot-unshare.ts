import type { Command } from 'commander';
import { lazy } from '../lazy';
import { showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveSnapshot } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectTexts } from '../values';
import { userName } from './evict';

interface UnshareOptions extends SharedOptions, ProjectOptions {
  member?: string[];
}

export function registerSnapshotUnshare(snapshot: Command): void {
  const command = snapshot
    .command('unshare')
    .description('let no project create volumes from a snapshot any more; those that were made stay')
    .argument('<snapshot>', 'the snapshot: its id, the first digits of it, or its name')
    .option('--member <project>', 'only this project loses it; may be repeated', collectTexts);
  withSharedOptions(withProjectOptions(command)).action(unshare);
}

async function unshare(called: string, options: UnshareOptions): Promise<void> {
  const { member: members } = options;
  await runVerb(
    options,
    async (cache, waiting) => {
      const projectId = projectOf(cache.settings, options);
      const snapshotId = await resolveSnapshot(cache, called, projectId);
      return await lazy.shares.unshareSnapshot(cache, { snapshotId, projectId, members, by: userName() }, waiting);
    },
    (ran) =>
      showRun(ran, options, {
        isFailed: () => false,
        show: (done) => showRecord(done, { id: 'snapshotId', text: ({ summary }) => summary }, options),
      }),
  );
}
