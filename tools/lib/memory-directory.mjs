import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

const PLACE = '/dev/shm';
const TMPFS = 0x0102_1994;
/** Twice what the widest suite takes. */
const ROOM_BYTES = 8 * 1024 ** 3;
const NAME = /^ivc-tests-(\d+)$/;

/**
 * A directory for what tests make, in memory: they flush and remove thousands of files, at milliseconds each on many a disk. The suite `filesystems`
 * tests the disks' own file systems.
 * @returns its path; undefined where memory is no file system, or too small.
 */
export function makeMemoryDirectory() {
  if (!hasRoom()) return undefined;
  removeLeftovers();
  const path = join(PLACE, `ivc-tests-${process.pid}`);
  mkdirSync(path);
  // As `/tmp`: PostgreSQL and the tools that read images run as other users.
  chmodSync(path, 0o1777);
  process.once('exit', () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return path;
}

function hasRoom() {
  try {
    const { type, bavail, bsize } = statfsSync(PLACE);
    const [, available = '0'] = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
    return type === TMPFS && bavail * bsize >= ROOM_BYTES && Number(available) * 1024 >= ROOM_BYTES;
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}

/** Of runs that were killed. */
function removeLeftovers() {
  for (const name of readdirSync(PLACE)) {
    const [, pid] = NAME.exec(name) ?? [];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(PLACE, name), { recursive: true, force: true });
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code !== 'ESRCH';
  }
}
