import type { Command } from 'commander';
import { loadConfig } from '../../config/load';
import { exitCodes } from '../exit-codes';
import { note } from '../output/print';
import { startStackProcess } from '../stack-process';

interface DownOptions {
  config?: string;
  data?: string;
}

export function registerDown(program: Command): void {
  program
    .command('down')
    .description('stop what `ivc up` started; volumes, images and workflows stay')
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory of the stack')
    .action(async (options: DownOptions) => {
      process.exitCode = await down(options);
    });
}

/** Returns when nothing of the stack runs any more. @returns the exit code. */
async function down({ config, data }: DownOptions): Promise<number> {
  const { path, dataDirectory } = loadConfig({ path: config, data });
  const { ended } = startStackProcess({
    command: 'down',
    dataDirectory,
    config: path,
    bound: false,
    onEvent: (event) => {
      if (event.kind === 'line') note(event.text.split('\n'));
      if (event.kind === 'failed') note(event.message.split('\n'));
    },
  });
  return (await ended) === 0 ? exitCodes.done : exitCodes.failed;
}
