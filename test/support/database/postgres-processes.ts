import { readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** Signals every process of the embedded server whose directory this is: they all work in its data directory. */
export function signalPostgres(directory: string, signal: NodeJS.Signals): void {
  const data = realpathSync(join(directory, 'data'));
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    if (workingDirectory(pid) === data) process.kill(Number(pid), signal);
}

function workingDirectory(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}
