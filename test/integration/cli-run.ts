import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

export interface Outcome {
  stdout: string;
  stderr: string;
  exitCode: number | null;
}

export interface RunningIvc {
  process: ChildProcess;
  /** Resolves when `stderr` has said `expected`. */
  says(expected: string): Promise<void>;
  outcome: Promise<Outcome>;
}

const main = resolve(__dirname, '../../dist/client/cli/main.js');

/** The real command line, as a child process. */
export function startIvc(args: string[], environment: NodeJS.ProcessEnv): RunningIvc {
  const child = spawn(process.execPath, [main, ...args], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
  const outcome = once(child, 'close').then(() => ({ ...said, exitCode: child.exitCode }));
  const says = (expected: string): Promise<void> =>
    new Promise((done, fail) => {
      child.stderr.on('data', () => said.stderr.includes(expected) && done());
      child.once('close', () => fail(new Error(`ivc ended before it said ${expected}:\n${said.stderr}`)));
    });
  return { process: child, says, outcome };
}

export async function runIvc(args: string[], environment: NodeJS.ProcessEnv): Promise<Outcome> {
  return await startIvc(args, environment).outcome;
}

/** Runs with `--json`. @returns the one document on stdout. */
export async function readIvc(
  args: string[],
  environment: NodeJS.ProcessEnv,
): Promise<{ exitCode: number | null; document: Record<string, unknown> }> {
  const { stdout, exitCode } = await runIvc([...args, '--json'], environment);
  return { exitCode, document: JSON.parse(stdout) as Record<string, unknown> };
}
