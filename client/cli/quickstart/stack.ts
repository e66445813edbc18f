import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findEndpoints } from '../../config/endpoints';

export interface StackHandle {
  /** Resolves at the first Ctrl-C or SIGTERM. */
  interrupted: Promise<void>;
  /** Stops the stack unless it ran before. */
  stop(): Promise<void>;
}

/** Starts the embedded stack of this data directory, or finds it running. Ctrl-C meanwhile stops what was started. */
export async function ensureStack(dataDirectory: string): Promise<StackHandle> {
  const ranBefore = findEndpoints(dataDirectory) !== undefined;
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped || ranBefore) return;
    stopped = true;
    await ivc('down', dataDirectory);
  };
  const started = ivc('up', dataDirectory, '--detach');
  await started;
  // An interrupt while volumes are made ends the program by way of the stack's stop.
  void interrupted.then(stop).then(() => process.exit(130));
  return { interrupted, stop };
}

/** Runs a command of the CLI in a process group of its own: Ctrl-C reaches us alone, and we decide. */
async function ivc(command: string, ...args: string[]): Promise<void> {
  const [dataDirectory, ...more] = args;
  const child = spawn(
    process.execPath,
    [join(__dirname, '../main.js'), command, '--data', dataDirectory ?? '', ...more],
    { stdio: ['ignore', 2, 2], detached: true },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`ivc ${command} ended with ${code}`);
}
