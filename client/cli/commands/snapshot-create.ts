import type { Command } from 'commander';
import { lazy } from '../lazy';
import { showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveVolume } from '../resolve';
import { runVerb, showRun, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, parseUuid } from '../values';
import { userName } from './evict';

interface CreateOptions extends SharedOptions, ProjectOptions {
  name?: string;
  description?: string;
  snapshotId?: string;
  metadata?: Record<string, string>;
  wait?: boolean;
}

export function registerSnapshotCreate(snapshot: Command): void {
  const command = snapshot
    .command('create')
    .description('take a snapshot of a volume')
    .argument('<volume>', 'the volume: its id, the first digits of it, or its name')
    .option('--name <name>', 'a name for people')
    .option('--description <text>', 'a description for people')
    .option(
      '--snapshot-id <uuid>',
      'id of the snapshot (default: a new one); the same request again is the same snapshot',
      parseUuid,
    )
    .option('--metadata <key=value>', 'a note; may be repeated', collectPairs)
    .option('--no-wait', 'print the workflow id and return at once');
  withSharedOptions(withProjectOptions(command)).action(create);
}

async function create(called: string, options: CreateOptions): Promise<void> {
  const { name, description, snapshotId, metadata } = options;
  await runVerb(
    options,
    async (cache, waiting) => {
      const projectId = projectOf(cache.settings, options);
      const volumeId = await resolveVolume(cache, called, projectId);
      const input = { volumeId, snapshotId, projectId, name, description, metadata, by: userName() };
      return await lazy.snapshots.createSnapshot(cache, input, waiting);
    },
    (ran) =>
      showRun(ran, options, {
        isFailed: () => false,
        show: (made) => showRecord(made, { id: 'snapshotId' }, options),
      }),
  );
}
