import { execFile } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** @returns the absolute path of the executable file `name` in the directories of PATH. */
export function findOnPath(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  return (env['PATH'] ?? '')
    .split(delimiter)
    .filter(isAbsolute)
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

const VERSION_DEADLINE_MS = 10_000;

/**
 * Asks a tool for one line such as its version. @returns its standard output, or undefined when it fails or takes over
 * 10 s.
 */
export async function askTool(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string | undefined> {
  try {
    const { stdout } = await run(command, args, { timeout: VERSION_DEADLINE_MS, ...options });
    return stdout.trim();
  } catch {
    return undefined;
  }
}

/** @returns whether version `found` (`1.8.2`) is `wanted` or newer. */
export function isAtLeast(found: string, wanted: string): boolean {
  const [left, right] = [found, wanted].map((version) => version.split('.').map(Number));
  for (const [index, number] of (right ?? []).entries()) {
    const difference = (left?.[index] ?? 0) - number;
    if (difference !== 0) return difference > 0;
  }
  return true;
}
