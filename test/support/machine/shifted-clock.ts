import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../../activities/command';

/** The wall clock of the processes that are started with `environment`, and of nobody else. Times from the kernel, such as those of files, stay right. */
export interface ShiftedClock {
  environment: NodeJS.ProcessEnv;
  /** From now on their clock is so far from the machine's; they notice within a second. Their monotonic clock goes on. */
  shift(bySeconds: number): void;
}

const LIBRARY = 'faketime/libfaketimeMT.so.1';
const LIBRARIES = '/usr/lib';
const INSTALL_TIMEOUT_MS = 300_000;

/** @param directory where a file says how far it is off. As root, Debian's package is installed where it is missing. */
export async function createShiftedClock(directory: string): Promise<ShiftedClock> {
  if (findLibrary() === undefined)
    await runCommand('apt-get', ['install', '-y', '--no-install-recommends', 'libfaketime'], {
      timeoutMs: INSTALL_TIMEOUT_MS,
    });
  const library = findLibrary();
  if (library === undefined) throw new Error(`${LIBRARIES} has no ${LIBRARY}: apt-get install libfaketime`);
  const path = join(directory, 'clock');
  const shift = (bySeconds: number): void => {
    // Read while it is written, it is complete.
    writeFileSync(`${path}.new`, `${bySeconds < 0 ? '' : '+'}${bySeconds}\n`);
    renameSync(`${path}.new`, path);
  };
  shift(0);
  return {
    environment: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: path,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    },
    shift,
  };
}

/** Below the directory of the machine's architecture, such as `x86_64-linux-gnu`. */
function findLibrary(): string | undefined {
  return readdirSync(LIBRARIES)
    .map((architecture) => join(LIBRARIES, architecture, LIBRARY))
    .find((path) => existsSync(path));
}
