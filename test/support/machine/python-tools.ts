import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { userCacheDirectory } from '../../../client/config/data-directory';

const run = promisify(execFile);
const INSTALL_TIMEOUT_MS = 900_000;

/**
 * Installs what a `requirements.txt` pins, once for this user, this Python and these versions.
 * @param name of the directory. @returns the directory of Python's packages, for `PYTHONPATH`; programs are in its `bin`.
 */
export async function installPythonTools(name: string, requirements: string): Promise<string> {
  const { stdout: python } = await run('python3', ['--version']);
  const key = createHash('sha256').update(python).update(readFileSync(requirements)).digest('hex').slice(0, 12);
  const directory = join(userCacheDirectory(), `${name}-${key}`);
  if (existsSync(directory)) return directory;
  const partial = `${directory}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  process.stderr.write(`installing ${name} with pip, once\n`);
  const args = ['-m', 'pip', 'install', '--quiet', '--target', partial, '--requirement', requirements];
  try {
    await run('python3', args, { timeout: INSTALL_TIMEOUT_MS });
    renameSync(partial, directory);
  } catch (error) {
    // Another run has been faster.
    if (!existsSync(directory)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return directory;
}
