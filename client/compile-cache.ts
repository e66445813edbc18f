import { mkdirSync, statSync } from 'node:fs';
import module from 'node:module';
import { join } from 'node:path';
import { userCacheDirectory } from './config/data-directory';

/** Node.js 22.1 and later. */
const { enableCompileCache } = module as typeof module & { enableCompileCache?: (directory: string) => unknown };

/** Imported before what it is for. */
if (enableCompileCache !== undefined && process.env['NODE_COMPILE_CACHE'] === undefined) keepCompiledCode();

/**
 * The next process need not compile again what this one has: a fifth of a command's time, a quarter of the time until a worker polls.
 * Where nothing can be kept, nothing is.
 */
function keepCompiledCode(): void {
  const directory = join(userCacheDirectory(), 'compiled');
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (isOurs(directory)) enableCompileCache?.(directory);
  } catch {
    // A home that is read-only, or none.
  }
}

/** A user who can write there runs code as us: with `sudo` the home may be another's. */
function isOurs(directory: string): boolean {
  const { uid, mode } = statSync(directory);
  return uid === process.getuid?.() && (mode & 0o022) === 0;
}
