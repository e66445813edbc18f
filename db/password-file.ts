import { readFileSync, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { hasCode } from '../lib/errno';

interface Place {
  host: string;
  port: number;
  database?: string;
  user?: string;
}

const OTHERS_MAY_READ = 0o077;

/**
 * The password of a place in libpq's file: `$PGPASSFILE`, else `~/.pgpass`. As libpq, it passes over a file that others
 * may read. Source: PostgreSQL's documentation, "The Password File".
 */
export function findPassword(place: Place, env: NodeJS.ProcessEnv): string | undefined {
  const path = env['PGPASSFILE'] || join(env['HOME'] || homedir(), '.pgpass');
  const user = place.user ?? userInfo().username;
  const wanted = [namesOf(place.host), [String(place.port)], [place.database ?? user], [user]];
  for (const line of linesOf(path)) {
    const fields = fieldsOf(line);
    if (fields.length < 5) continue;
    if (wanted.every((values, at) => fields[at] === '*' || values.includes(fields[at] ?? ''))) return fields[4];
  }
  return undefined;
}

/** A socket's directory is `localhost` there, or its own name. */
function namesOf(host: string): string[] {
  return host.startsWith('/') ? [host, 'localhost'] : [host];
}

function linesOf(path: string): string[] {
  try {
    const found = statSync(path);
    if (!found.isFile() || (found.mode & OTHERS_MAY_READ) !== 0) return [];
    return readFileSync(path, 'utf8')
      .split(/\r?\n/)
      .filter((line) => !line.startsWith('#'));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return [];
    throw error;
  }
}

/** A colon or a backslash in a field has a backslash before it. */
function fieldsOf(line: string): string[] {
  const fields = [''];
  for (const [, escaped, plain = ''] of line.matchAll(/\\(.)|(.)/g))
    if (escaped === undefined && plain === ':') fields.push('');
    else fields.push(`${fields.pop() ?? ''}${escaped ?? plain}`);
  return fields;
}
