import type { Command } from 'commander';
import { lazy } from '../lazy';
import { withOutputOptions } from '../output/show';
import type { StackOptions } from '../stack';

/** `ivc up` and `ivc down`. */
export function registerStack(program: Command): void {
  const start = program
    .command('up')
    .description(
      'start Temporal, PostgreSQL and an image service, except those that temporal.yaml names, a worker and the block-storage API',
    )
    .option('-d, --detach', 'return when everything is ready; `ivc down` stops it')
    .option('--config <path>', 'temporal.yaml to use (default: $IVC_CONFIG, ./temporal.yaml, the one of the package)')
    .option(
      '--data <directory>',
      'directory of all state (default: $IVC_DATA, /var/lib/image-volume-cache as root, else XDG state)',
    );
  withOutputOptions(start).action(async (options: StackOptions) => {
    process.exitCode = await lazy.stack.up(options);
  });
  program
    .command('down')
    .description('stop what `ivc up` started; volumes, images and workflows stay')
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory of the stack')
    .action(async (options: StackOptions) => {
      process.exitCode = await lazy.stack.down(options);
    });
}
