import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startPart, type Part } from '../../../worker/stack/part';

/** Debian's python3 must come first: its packages are for no other. */
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
/** A server that forks its workers takes them along; so long it may finish what they do. */
const STOP_DEADLINE_MS = 15_000;

interface ServiceOptions {
  name: string;
  command: string;
  args: readonly string[];
  /** Beside PATH and LANG. */
  env?: NodeJS.ProcessEnv;
  /** Its log is `NAME.log` in here. */
  directory: string;
}

/** A server that the kernel ends when this process dies, however it dies. `stop` ends what it has forked, too. */
export async function startService({ name, command, args, env, directory }: ServiceOptions): Promise<Part> {
  const part = await startPart({
    name,
    command: '/usr/bin/setpriv',
    args: ['--pdeathsig', 'KILL', command, ...args],
    env: { PATH, LANG: 'C.UTF-8', ...env },
    cwd: '/',
    logPath: join(directory, `${name}.log`),
    stopDeadlineMs: STOP_DEADLINE_MS,
  });
  const endGroup = (): void => {
    try {
      process.kill(-part.process.pid, 'SIGKILL');
    } catch {
      // All of them have ended.
    }
  };
  process.prependOnceListener('exit', endGroup);
  return {
    ...part,
    stop: async () => {
      await part.stop();
      endGroup();
      process.off('exit', endGroup);
    },
  };
}

/** @returns all that the service has written. */
export function readServiceLog({ logPath }: Part): string {
  return readFileSync(logPath, 'utf8');
}
