import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { userCacheDirectory } from '../../../client/config/data-directory';

const run = promisify(execFile);
const BUILD_TIMEOUT_MS = 900_000;

interface GoTests {
  /** Of the program, and for people. */
  name: string;
  /** The directory whose `go.mod` pins the module that they are of. */
  moduleDirectory: string;
  package: string;
  tags: string;
}

/** Compiles the tests of a Go package, once for this user, this Go and these versions. @returns the program's path. */
export async function buildGoTests({ name, moduleDirectory, package: tested, tags }: GoTests): Promise<string> {
  const { stdout: version } = await run('go', ['-C', moduleDirectory, 'version']);
  const key = createHash('sha256').update(version).update(tested).update(tags);
  for (const file of ['go.mod', 'go.sum']) key.update(readFileSync(join(moduleDirectory, file)));
  const path = join(userCacheDirectory(), `${name}-${key.digest('hex').slice(0, 12)}.test`);
  if (existsSync(path)) return path;
  mkdirSync(userCacheDirectory(), { recursive: true });
  const partial = `${path}.${process.pid}`;
  process.stderr.write(`building the tests of ${name} with Go, once\n`);
  const args = ['-C', moduleDirectory, 'test', '-c', '-trimpath', '-tags', tags, '-o', partial, tested];
  try {
    await run('go', args, { timeout: BUILD_TIMEOUT_MS });
    renameSync(partial, path);
  } finally {
    rmSync(partial, { force: true });
  }
  return path;
}
