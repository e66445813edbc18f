import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

const NAME = 'image-volume-cache';

/**
 * The one directory that holds all state of an embedded stack: `--data`, else `IVC_DATA`, else
 * `/var/lib/image-volume-cache` as root
 * (root's home is closed to the user that the database drops to), else below `$XDG_STATE_HOME` or `~/.local/state`.
 * @returns an absolute path, which need not exist.
 */
export function chooseDataDirectory(data?: string, env: NodeJS.ProcessEnv = process.env): string {
  const given = data ?? nonEmpty(env['IVC_DATA']);
  if (given !== undefined) return resolve(expandHome(given));
  if (process.getuid?.() === 0) return join('/var/lib', NAME);
  return join(xdgDirectory(env['XDG_STATE_HOME'], '.local/state'), NAME);
}

/** @returns the absolute directory for what can be made again, such as a built Temporal server. */
export function userCacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return join(xdgDirectory(env['XDG_CACHE_HOME'], '.cache'), NAME);
}

/** @returns `path` with a leading `~` replaced by the home directory. */
export function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

/** The XDG base directory specification: a relative value is to be ignored. */
function xdgDirectory(value: string | undefined, fallback: string): string {
  return value !== undefined && isAbsolute(value) ? value : join(homedir(), fallback);
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
