import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { packageRoot } from '../../../client/config/package-root';

export interface IvcResult {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** A running `ivc`, as a user starts it. */
export interface RunningIvc {
  process: ChildProcess;
  /** Resolves when its standard error has said something that matches. */
  says(pattern: RegExp): Promise<void>;
  ended: Promise<IvcResult>;
}

/** Starts the built command line with `env` and nothing else that names a part. */
export function spawnIvc(args: string[], env: NodeJS.ProcessEnv): RunningIvc {
  const child = spawn(process.execPath, [join(packageRoot(), 'dist/client/cli/main.js'), ...args], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.all([text(child.stdout), text(child.stderr), exitOf(child)]).then(
    ([stdout, stderr, exitCode]) => ({
      stdout,
      stderr,
      exitCode,
    }),
  );
  return { process: child, ended, says: (pattern) => waitForText(child, pattern) };
}

export function runIvc(args: string[], env: NodeJS.ProcessEnv): Promise<IvcResult> {
  return spawnIvc(args, env).ended;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve));
}

function waitForText(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk) => {
      said += String(chunk);
      if (pattern.test(said)) resolve();
    });
    child.once('exit', () => reject(new Error(`ivc ended without saying ${pattern}: ${said}`)));
  });
}
