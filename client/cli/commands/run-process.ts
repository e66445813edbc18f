import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../config/package-root';
import { ImageVolumeCacheError } from '../../errors';
import type { Settings } from '../../settings';
import { lazy } from '../lazy';

interface ProcessOptions {
  config?: string;
  data?: string;
}

/**
 * Starts a process of ours as a child by its path: the client imports nothing of it. Ends with the child's exit code.
 * @param script below `dist/`. @param options are handed on.
 */
export async function runProcess(script: string, options: ProcessOptions): Promise<void> {
  const path = join(packageRoot(), 'dist', script);
  if (!existsSync(path)) {
    throw new ImageVolumeCacheError({
      type: 'NotConfigured',
      message: `${path} is missing: build it with \`npm run build\``,
      details: { path },
    });
  }
  const settings = lazy.settings.resolveSettings({ config: options.config, dataDirectory: options.data });
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
