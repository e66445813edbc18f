import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { findProcess, isRunning, type ProcessIdentity } from '../../client/config/process-identity';
import { hasCode } from './error-code';
import { readProcessFile } from './process-files';

export type LockOutcome = { kind: 'acquired'; release: () => void } | { kind: 'held'; by: ProcessIdentity };

/** Takes the lock file `path` for this process, or says which running process holds it. A lock whose holder died is taken over.
 *  The file appears with its content (a hard link), so that nobody reads a half-written one. */
export function acquireProcessLock(path: string): LockOutcome {
  const own = findProcess(process.pid);
  if (!own) throw new Error('the kernel does not show this process in /proc');
  const candidate = `${path}.${process.pid}`;
  writeFileSync(candidate, JSON.stringify(own), { mode: 0o600 });
  try {
    for (;;) {
      if (tryLink(candidate, path)) return { kind: 'acquired', release: () => releaseLock(path, own) };
      const holder = readProcessFile(path);
      if (holder && isRunning(holder)) return { kind: 'held', by: holder };
      removeDead(path);
    }
  } finally {
    rmSync(candidate, { force: true });
  }
}

function releaseLock(path: string, own: ProcessIdentity): void {
  if (readProcessFile(path)?.startTime === own.startTime) rmSync(path, { force: true });
}

/** Moves the dead holder's file away and looks again: another process may have taken the lock since it was read. */
function removeDead(path: string): void {
  const aside = `${path}.${process.pid}.dead`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  const holder = readProcessFile(aside);
  if (holder && isRunning(holder)) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}
