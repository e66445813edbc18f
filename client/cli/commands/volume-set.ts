import { Option, type Command } from 'commander';
import type { VolumeChange } from '../../../workflows/contract/volume-changes';
import { lazy } from '../lazy';
import { showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveVolume } from '../resolve';
import { runVerb, withSharedOptions, type SharedOptions } from '../run-verb';
import { collectPairs, collectTexts } from '../values';
import { userName } from './evict';

interface SetOptions extends SharedOptions, ProjectOptions {
  name?: string;
  description?: string;
  property?: Record<string, string>;
  bootable?: boolean;
  nonBootable?: boolean;
}

interface UnsetOptions extends SharedOptions, ProjectOptions {
  name?: boolean;
  description?: boolean;
  property?: string[];
}

/** `ivc volume set` and `ivc volume unset`. */
export function registerVolumeSet(volume: Command): void {
  const set = volume
    .command('set')
    .description('change name, description, metadata or bootable of a volume')
    .argument('<volume>', 'the volume: its id, the first digits of it, or its name')
    .option('--name <name>', 'its new name')
    .option('--description <text>', 'its new description')
    .option('--property <key=value>', 'metadata to set; may be repeated, other keys stay', collectPairs)
    .addOption(new Option('--bootable', 'it is bootable').conflicts('nonBootable'))
    .option('--non-bootable', 'it is not bootable');
  withSharedOptions(withProjectOptions(set)).action(async (called: string, options: SetOptions) => {
    const { name, description, property: metadata, bootable, nonBootable } = options;
    await change(
      called,
      { name, description, metadata, bootable: nonBootable ? false : bootable },
      { options, command: set },
    );
  });

  const unset = volume
    .command('unset')
    .description('remove metadata, the name or the description of a volume')
    .argument('<volume>', 'the volume: its id, the first digits of it, or its name')
    .option('--property <key>', 'key of metadata to remove; may be repeated', collectTexts)
    .option('--name', 'it has no name any more')
    .option('--description', 'it has no description any more');
  withSharedOptions(withProjectOptions(unset)).action(async (called: string, options: UnsetOptions) => {
    const { name, description, property: unsetMetadata } = options;
    const wanted = { name: name ? null : undefined, description: description ? null : undefined, unsetMetadata };
    await change(called, wanted, { options, command: unset });
  });
}

async function change(
  called: string,
  wanted: VolumeChange,
  { options, command }: { options: SharedOptions & ProjectOptions; command: Command },
): Promise<void> {
  if (Object.values(wanted).every((value) => value === undefined))
    command.error('error: got nothing to change, allowed is one option at least that says what');
  await runVerb(
    options,
    async (cache, { signal }) => {
      const projectId = projectOf(cache.settings, options);
      const volumeId = await resolveVolume(cache, called, projectId);
      return await lazy.volumes.changeVolume(cache, volumeId, { ...wanted, signal, projectId, by: userName() });
    },
    (changed) => showRecord(changed, { id: 'volumeId' }, options),
  );
}
