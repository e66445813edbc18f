import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { registerCacheFollow } from './commands/cache-follow';
import { registerCacheEvict, registerCachePin } from './commands/cache-evict';
import { registerCacheLimits } from './commands/cache-limits';
import { registerCacheList } from './commands/cache-list';
import { registerCacheRefusals } from './commands/cache-refusals';
import { registerCacheShow } from './commands/cache-show';
import { registerCacheWarm } from './commands/cache-warm';
import { registerDoctor } from './commands/doctor';
import { registerEvict } from './commands/evict';
import { registerImageList } from './commands/image-list';
import { registerImageShow } from './commands/image-show';
import { registerImageUpload } from './commands/image-upload';
import { registerReconcile } from './commands/reconcile';
import { registerReport } from './commands/report';
import { registerRefresh } from './commands/refresh';
import { registerStatus } from './commands/status';
import { registerStack } from './commands/stack';
import { registerVolumeCreate } from './commands/volume-create';
import { registerVolumeDelete } from './commands/volume-delete';
import { registerVolumeList } from './commands/volume-list';
import { registerVolumeShow } from './commands/volume-show';
import { registerWorker } from './commands/worker';
import { visibleText } from '../../workflows/contract/visible-text';
import { packageRoot } from '../config/package-root';

const examples = `
Examples:
  ivc up --detach                                start Temporal, PostgreSQL, an image service and a worker
  ivc image upload debian.qcow2 --name debian    put an image where volumes come from
  ivc volume create --image ID                   the first one populates the cache, the next are clones
  ivc status                                     space, cache use, hit rate, running populations

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 image refused, 5 a service is unavailable, 130 interrupted`;

/** The whole command line. Errors are thrown, nothing exits. */
export function createProgram(): Command {
  const program = new Command('ivc')
    .description('Bootable block volumes from images in the time of one clone.')
    .version(packageVersion(), '-V, --version')
    // An option of `evict` and the same one of `evict pause` are told apart by where they stand.
    .enablePositionalOptions()
    .addHelpText('after', examples);

  program.commandsGroup('Stack:');
  registerStack(program);
  registerWorker(program);
  registerDoctor(program);
  registerStatus(program);
  registerReport(program);
  registerRefresh(program);

  program.commandsGroup('Operators:');
  registerEvict(program);
  registerReconcile(program);

  program.commandsGroup('Objects:');
  const image = program.command('image').description('images of the image service');
  registerImageList(image);
  registerImageShow(image);
  registerImageUpload(image);

  const volume = program.command('volume').description('volumes made from images');
  registerVolumeCreate(volume);
  registerVolumeList(volume);
  registerVolumeShow(volume);
  registerVolumeDelete(volume);

  const cache = program.command('cache').description('image-volumes that serve as parents of clones');
  registerCacheList(cache);
  registerCacheShow(cache);
  registerCacheEvict(cache);
  registerCachePin(cache);
  registerCacheLimits(cache);
  registerCacheWarm(cache);
  registerCacheFollow(cache);
  registerCacheRefusals(cache);

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
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}
