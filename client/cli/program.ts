import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { registerApi } from './commands/api';
import { registerDoctor } from './commands/doctor';
import { registerEvents } from './commands/event-list';
import { registerEvict } from './commands/evict';
import { registerCompletion } from './commands/completion';
import { registerHelp } from './commands/help';
import { registerReconcile } from './commands/reconcile';
import { registerReport } from './commands/report';
import { registerRefresh } from './commands/refresh';
import { registerStatus } from './commands/status';
import { registerStack } from './commands/up';
import { registerWorker } from './commands/worker';
import type * as imageModule from './nouns/image-verbs';
import type * as volumeModule from './nouns/volume-verbs';
import type * as quotaModule from './commands/quota';
import type * as snapshotModule from './nouns/snapshot-verbs';
import type * as cacheModule from './nouns/cache-verbs';
import type * as importModule from './nouns/import-verbs';
import { visibleText } from '../../workflows/contract/visible-text';
import { packageRoot } from '../config/package-root';

const examples = `
Examples:
  ivc up --detach                                start Temporal, PostgreSQL, an image service and a worker
  ivc image upload debian.qcow2 --name debian    put an image where volumes come from
  ivc volume create --image ID                   the first one populates the cache, the next are clones
  ivc status                                     space, cache use, hit rate, running populations

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 image refused, 5 a service is unavailable, 130 interrupted`;

/** Nouns with verbs of their own. They are loaded by `require`, as in lazy.ts. */
const nouns: { name: string; description: string; register(noun: Command): void }[] = [
  {
    name: 'image',
    description: 'images of the image service',
    register: (image) => (require('./nouns/image-verbs') as typeof imageModule).registerImageVerbs(image),
  },
  {
    name: 'volume',
    description: 'volumes made from images',
    register: (volume) => (require('./nouns/volume-verbs') as typeof volumeModule).registerVolumeVerbs(volume),
  },
  {
    name: 'quota',
    description: 'what a project may have',
    register: (quota) => (require('./commands/quota') as typeof quotaModule).registerQuota(quota),
  },
  {
    name: 'snapshot',
    description: 'snapshots of volumes',
    register: (snapshot) =>
      (require('./nouns/snapshot-verbs') as typeof snapshotModule).registerSnapshotVerbs(snapshot),
  },
  {
    name: 'cache',
    description: 'image-volumes that serve as parents of clones',
    register: (cache) => (require('./nouns/cache-verbs') as typeof cacheModule).registerCacheVerbs(cache),
  },
  {
    name: 'import',
    description: 'what another service has made, taken over where it lies',
    register: (noun) => (require('./nouns/import-verbs') as typeof importModule).registerImportVerbs(noun),
  },
];

/** Commands that look at all others. */
const overall = ['help', 'completion'];

/** @returns whether arguments may ask for verbs of this noun. */
function isMeant(noun: string, argv: readonly string[] | undefined): boolean {
  return argv === undefined || argv.some((word) => word === noun || overall.includes(word));
}

/**
 * The whole command line. Errors are thrown, nothing exits.
 * @param argv what will be parsed: nouns that are not in it have no verbs. Default: all have.
 */
export function createProgram(argv?: readonly string[]): Command {
  const program = new Command('ivc')
    .description('Bootable block volumes from images in the time of one clone.')
    .version(packageVersion(), '-V, --version')
    // An option of `evict` and the same one of `evict pause` are told apart by where they stand.
    .enablePositionalOptions()
    .addHelpText('after', examples);

  program.commandsGroup('Stack:');
  registerStack(program);
  registerWorker(program);
  registerApi(program);
  registerDoctor(program);
  registerStatus(program);
  registerReport(program);
  registerRefresh(program);

  program.commandsGroup('Operators:');
  registerEvents(program);
  registerEvict(program);
  registerReconcile(program);

  program.commandsGroup('Objects:');
  for (const noun of nouns) {
    const command = program.command(noun.name).description(noun.description);
    if (isMeant(noun.name, argv)) noun.register(command);
  }

  program.commandsGroup('This command line:');
  registerCompletion(program);
  registerHelp(program);

  prepare(program);
  return program;
}

/** Commander adds a line of its own to a message: the command or option that was most likely meant. */
const SUGGESTION = /\n\(Did you mean [^\n]*\)$/;

/** Every command: throws instead of exiting, shows its options beside a usage error, refuses what it does not know. */
function prepare(command: Command): void {
  command
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(`${visibleMessage(message.trimEnd())}\n`) })
    .showHelpAfterError(`(\`${pathOf(command)} --help\` shows what is allowed)`)
    .allowExcessArguments(false);
  for (const child of command.commands) prepare(child);
}

/** The message quotes what was typed. */
function visibleMessage(message: string): string {
  const [suggestion = ''] = SUGGESTION.exec(message) ?? [];
  const said = visibleText(message.slice(0, message.length - suggestion.length));
  return `${said}${suggestion === '' ? '' : `\n${visibleText(suggestion.slice(1))}`}`;
}

function packageVersion(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  return version;
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}
