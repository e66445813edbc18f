import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { packageRoot } from '../../../client/config/package-root';
import { endWithTest } from '../machine/test-process';

export interface IvcResult {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** A running `ivc`, as a user starts it; killed with the test that has not ended it. */
export interface RunningIvc {
  process: ChildProcess;
  /** Resolves when its standard error has said it, or something that matches. */
  says(expected: string | RegExp): Promise<void>;
  ended: Promise<IvcResult>;
}

/** Starts the built command line with `env` and nothing else that names a part. */
export function spawnIvc(args: string[], env: NodeJS.ProcessEnv): RunningIvc {
  const main = join(packageRoot(), 'dist/client/cli/main.js');
  const child = endWithTest(
    spawn(process.execPath, [main, ...args], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  const ended = Promise.all([text(child.stdout), text(child.stderr), exitOf(child)]).then(
    ([stdout, stderr, exitCode]) => ({ stdout, stderr, exitCode }),
  );
  return { process: child, ended, says: (expected) => waitForText(child, expected) };
}

export function runIvc(args: string[], env: NodeJS.ProcessEnv): Promise<IvcResult> {
  return spawnIvc(args, env).ended;
}

/** Runs with `--json`. @returns the one document on stdout. */
export async function readIvc(
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ exitCode: number | null; document: Record<string, unknown> }> {
  const { stdout, exitCode } = await runIvc([...args, '--json'], env);
  return { exitCode, document: JSON.parse(stdout) as Record<string, unknown> };
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve));
}

function waitForText(child: ChildProcess, expected: string | RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk) => {
      said += String(chunk);
      if (typeof expected === 'string' ? said.includes(expected) : expected.test(said)) resolve();
    });
    child.once('exit', () => reject(new Error(`ivc ended without saying ${expected}: ${said}`)));
  });
}
