import { renameSync, writeFileSync } from 'node:fs';

/** Writes `text` to a file that only its owner reads (0600), complete or not at all. */
export function writeSecret(path: string, text: string): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, text, { mode: 0o600, flag: 'wx' });
  renameSync(temporary, path);
}
