import type { Command } from 'commander';
import { runProcess } from './run-process';

export function registerApi(program: Command): void {
  program
    .command('api')
    .description('run the block-storage API in the foreground')
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory')
    .action(async (options: { config?: string; data?: string }) => await runProcess('worker/api/main.js', options));
}
