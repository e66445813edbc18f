import { chownSync, cpSync, existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** PostgreSQL refuses to run as root, so as root its files belong to `nobody` and its processes run as it. */
export interface DatabaseUser {
  uid: number;
  gid: number;
}

/** @returns whom the database runs as, or undefined when that is the current user. */
export function chooseDatabaseUser(): DatabaseUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const fields = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  return fields ? { uid: Number(fields[1]), gid: Number(fields[2]) } : { uid: 65_534, gid: 65_534 };
}

export function giveTo(user: DatabaseUser | undefined, path: string): void {
  if (user) chownSync(path, user.uid, user.gid);
}

/** @throws Error naming the directory above `path` that the database's user cannot pass through. */
export function assertReachable(path: string, user: DatabaseUser | undefined): void {
  const closed = findClosedDirectory(path, user);
  if (closed === undefined) return;
  throw new Error(
    `as root the database runs as nobody, who cannot reach ${path} because ${closed} is closed to others: choose another data directory with --data or IVC_DATA`,
  );
}

/**
 * @returns a server directory that the database's user can execute: `binaries`, or a copy of its installation below
 * `copyTo`.
 */
export function ensureExecutableFor(user: DatabaseUser | undefined, binaries: string, copyTo: string): string {
  if (findClosedDirectory(binaries, user) === undefined) return binaries;
  if (!existsSync(copyTo)) copyComplete(dirname(binaries), copyTo);
  return join(copyTo, 'bin');
}

/** The copy is complete whenever it exists. */
function copyComplete(from: string, to: string): void {
  const partial = `${to}.partial`;
  rmSync(partial, { recursive: true, force: true });
  cpSync(from, partial, { recursive: true, verbatimSymlinks: true });
  renameSync(partial, to);
}

function findClosedDirectory(path: string, user: DatabaseUser | undefined): string | undefined {
  if (!user) return undefined;
  const { mode, uid } = statSync(path);
  const passable = (mode & 0o001) !== 0 || (uid === user.uid && (mode & 0o100) !== 0);
  if (!passable) return path;
  return dirname(path) === path ? undefined : findClosedDirectory(dirname(path), user);
}
