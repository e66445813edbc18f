import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../config/package-root';
import { stackEventSchema, type StackEvent } from '../config/stack-events';

export interface StackProcessOptions {
  command: 'up' | 'down';
  dataDirectory: string;
  /** The configuration file. */
  config: string;
  /** Whether the stack stops when this process ends. */
  bound: boolean;
  onEvent: (event: StackEvent) => void;
}

export interface StackProcess {
  child: ChildProcess;
  /** Exit code, or 1 after a signal that was not ours. */
  ended: Promise<number>;
}

/**
 * Starts the program that runs the embedded stack: by its path, because the library loads nothing of `worker/`. It gets a session of its own, so that
 * a Ctrl-C of the terminal reaches it only through us, and writes to its own log, so that it does not depend on us.
 */
export function startStackProcess({
  command,
  dataDirectory,
  config,
  bound,
  onEvent,
}: StackProcessOptions): StackProcess {
  const logs = join(dataDirectory, 'logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const log = openSync(join(logs, 'supervisor.log'), 'a', 0o600);
  const script = join(packageRoot(), 'dist', 'worker', 'stack', 'main.js');
  const args = [
    '--enable-source-maps',
    script,
    command,
    '--data',
    dataDirectory,
    '--config',
    config,
    ...(bound ? ['--bound'] : []),
  ];
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log, 'ipc'] });
  closeSync(log);
  child.on('message', (message) => {
    const event = stackEventSchema.safeParse(message);
    if (event.success) onEvent(event.data);
  });
  return { child, ended: endOf(child) };
}

function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
