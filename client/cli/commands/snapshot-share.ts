import { Option, type Command } from 'commander';
import { shareVisibilities, type ShareVisibility } from '../../../workflows/contract/share';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { withProgress } from '../output/progress';
import { isForProgram, showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveSnapshot } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectTexts } from '../values';
import { userName } from './evict';

interface ShareOptions extends SharedOptions, ProjectOptions {
  visibility?: ShareVisibility;
  member?: string[];
  name?: string;
  wait: boolean;
}

export function registerSnapshotShare(snapshot: Command): void {
  const command = snapshot
    .command('share')
    .description('let other projects create volumes from a snapshot, by an image of its project')
    .argument('<snapshot>', 'the snapshot: its id, the first digits of it, or its name')
    .addOption(
      new Option('--visibility <who>', 'shared: the members; community, public: every project')
        .choices(shareVisibilities)
        .default(undefined, 'shared'),
    )
    .option(
      '--member <project>',
      'a project that may use it, besides those that may already; may be repeated',
      collectTexts,
    )
    .option('--name <name>', 'the image’s name (default: that of the snapshot)')
    .option('--no-wait', 'start it and return');
  withSharedOptions(withProjectOptions(command)).action(share);
}

async function share(called: string, options: ShareOptions): Promise<void> {
  const { visibility, member: members, name } = options;
  await runVerb(
    options,
    async (cache, waiting) => {
      const projectId = projectOf(cache.settings, options);
      const snapshotId = await resolveSnapshot(cache, called, projectId);
      const input = { snapshotId, projectId, visibility, members, name, by: userName() };
      return await withProgress((onProgress) => lazy.shares.shareSnapshot(cache, input, { ...waiting, onProgress }));
    },
    (ran) =>
      showRun(ran, options, {
        isFailed: () => false,
        show: (done) => {
          showRecord(done, { id: 'imageId' }, options);
          if (!isForProgram(options)) note(done.summary);
        },
      }),
  );
}
