import type { Command } from 'commander';
import { parseRoles, roles, type Role } from '../../config/worker-roles';
import { runProcess } from './run-process';

interface WorkerOptions {
  roles?: Role[];
  config?: string;
  data?: string;
}

export function registerWorker(program: Command): void {
  program
    .command('worker')
    .description('run a worker in the foreground, with every role unless some are named')
    .option('--roles <roles>', `comma-separated: ${roles.join(', ')}`, parseRoles)
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory')
    .action(async (options: WorkerOptions) => await runProcess('worker/main.js', options));
}
