import type { Command } from 'commander';
import type { ResolvedConfig } from '../../config/load';
import { showList, type ListView } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';

/** A volume type. Field names are those of `--json`. */
interface VolumeType {
  name: string;
  description: string | null;
  /** Backends that a volume of it may be on. */
  backends: string[];
  extraSpecs: Record<string, string>;
  /** Null: everybody's. */
  projects: string[] | null;
  isDefault: boolean;
}

export function registerVolumeTypes(volume: Command): void {
  const command = volume
    .command('types')
    .description('list the volume types that a project may use, as the configuration that the command finds has them');
  withSharedOptions(withProjectOptions(command)).action(async (options: SharedOptions & ProjectOptions) => {
    await showFound(
      options,
      ({ settings }) => {
        const volumeTypes = typesFor(settings.loaded.config, projectOf(settings, options));
        // Nobody is told whose else a type is.
        const shown = options.allProjects ? volumeTypes : volumeTypes.map(({ projects: _projects, ...type }) => type);
        return Promise.resolve({ volumeTypes: shown });
      },
      (found) => showList(found, view, options),
    );
  });
}

/** @param projectId undefined: all. */
function typesFor({ volumeTypes, backends, defaultVolumeType }: ResolvedConfig, projectId?: string): VolumeType[] {
  const types = Object.entries(volumeTypes).map(([name, type]) => ({
    name,
    description: type.description ?? null,
    backends: type.backends ?? Object.keys(backends),
    extraSpecs: type.extraSpecs,
    projects: type.projects ?? null,
    isDefault: name === defaultVolumeType,
  }));
  return types.filter(({ projects }) => projectId === undefined || projects?.includes(projectId) !== false);
}

const view: ListView<Omit<VolumeType, 'projects'>> = {
  list: 'volumeTypes',
  id: 'name',
  columns: [
    { name: 'name', of: ({ name, isDefault }) => (isDefault ? `${name} (default)` : name) },
    'backends',
    'extraSpecs',
    'description',
  ],
  more: ['projects'],
  empty: 'no volume types',
};
