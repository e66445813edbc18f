import { Option, type Command } from 'commander';
import { failureError } from '../errors';
import type { Settings } from '../settings';

/** Options of verbs that reach the volumes of one project. */
export interface ProjectOptions {
  project?: string;
  allProjects?: boolean;
}

const described = 'the project that owns it (default: defaultProjectId of the configuration)';

/** Adds the option of a verb that is about one project. */
export function withOneProject(command: Command): Command {
  return command.option('--project <id>', 'the project (default: defaultProjectId of the configuration)');
}

/** Adds the options that say whose volumes a verb reaches. */
export function withProjectOptions(command: Command): Command {
  return command
    .addOption(new Option('--project <id>', described).conflicts('allProjects'))
    .option('--all-projects', 'for operators: whatever project owns it');
}

/**
 * @returns the project whose volumes a verb reaches, by default that of a create which names none; undefined: any, for an operator.
 * @throws ImageVolumeCacheError `InvalidRequest` with an identity, where a create must name one too.
 */
export function projectOf(settings: Settings, { allProjects, ...options }: ProjectOptions): string | undefined {
  return allProjects ? undefined : oneProjectOf(settings, options, '--project with its id, or --all-projects');
}

/** As `projectOf`, of a verb that is about one project. */
export function requiredProjectOf(settings: Settings, options: ProjectOptions): string {
  return oneProjectOf(settings, options, '--project with its id');
}

function oneProjectOf({ loaded: { config } }: Settings, { project }: ProjectOptions, asked: string): string {
  if (project !== undefined) return project;
  if (config.identity === undefined) return config.defaultProjectId;
  const allowed = `${asked}: with an identity configured there is no default`;
  throw failureError('InvalidRequest', { field: 'projectId', value: 'nothing', allowed });
}
