import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { giveTo, type DatabaseUser } from './database-user';
import { writeFileAtomically } from '../../lib/files';

/** The kernel's limit of a socket's path, less what PostgreSQL adds to the directory: `/.s.PGSQL.5432.lock`. */
const SOCKET_DIRECTORY_BYTES_LIMIT = 107 - 20;

/** Makes an empty 0700 directory for the database's socket: below `directory`, or a temporary one when that path is too long for a socket.
 *  The one of a former start is removed. */
export function ensureSocketDirectory(directory: string, user: DatabaseUser | undefined): string {
  removeSocketDirectory(directory);
  const own = join(directory, 'socket');
  const path = Buffer.byteLength(own) <= SOCKET_DIRECTORY_BYTES_LIMIT ? own : mkdtempSync(join(tmpdir(), 'ivc-'));
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
  giveTo(user, path);
  writeFileAtomically(recordPath(directory), path);
  return path;
}

/** Idempotent. */
export function removeSocketDirectory(directory: string): void {
  const record = recordPath(directory);
  if (!existsSync(record)) return;
  const path = readFileSync(record, 'utf8');
  if (isAbsolute(path)) rmSync(path, { recursive: true, force: true });
  rmSync(record, { force: true });
}

function recordPath(directory: string): string {
  return join(directory, 'socket-directory');
}
