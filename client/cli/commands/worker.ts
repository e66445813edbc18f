import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { packageRoot } from '../../config/package-root';
import { parseRoles, roles, type Role } from '../../config/worker-roles';
import { ImageVolumeCacheError } from '../../errors';
import { resolveSettings, type Settings } from '../../settings';

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
    .action(runWorker);
}

/** Starts the worker as a child by its path: the client imports nothing of it. Ends with the child's exit code. */
async function runWorker(options: WorkerOptions): Promise<void> {
  const path = join(packageRoot(), 'dist/worker/main.js');
  if (!existsSync(path)) {
    throw new ImageVolumeCacheError({
      type: 'NotConfigured',
      message: `${path} is missing: build it with \`npm run build\``,
      details: { path },
    });
  }
  const settings = resolveSettings({ config: options.config, dataDirectory: options.data });
  const given = Object.entries(options).flatMap(([name, value]: [string, unknown]) => [`--${name}`, String(value)]);
  process.exitCode = await runChild([path, ...given], { ...process.env, ...environmentOf(settings) });
}

/** A running stack's addresses, as the environment that overrides what the file calls `embedded`. */
function environmentOf({ endpoints, address, namespace, databaseUrl, imagesEndpoint }: Settings): NodeJS.ProcessEnv {
  if (endpoints === undefined) return {};
  return {
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: namespace,
    DATABASE_URL: databaseUrl,
    OS_IMAGE_ENDPOINT_OVERRIDE: imagesEndpoint,
  };
}

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs node with our stdio until it ends; signals are handed on. @returns its exit code, or 128 + the signal that ended
 * it.
 */
async function runChild(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  // A group of its own: Ctrl-C reaches it once, from us, and not from the terminal as well.
  const child = spawn(process.execPath, args, { stdio: 'inherit', env, detached: true });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of forwarded) process.on(signal, forward);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of forwarded) process.off(signal, forward);
  }
}
