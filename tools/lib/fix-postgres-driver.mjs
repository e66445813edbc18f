import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, ToolError } from './run.mjs';

const VERSION = '3.4.9';

/** The text of the driver's source, and the text that it should have. */
const fixes = [
  {
    from: '    const x = socket.write(chunk, fn)\n',
    to: `    if (socket === null) {
      nextWriteTimer !== null && clearImmediate(nextWriteTimer)
      chunk = nextWriteTimer = null
      error(Errors.connection('CONNECTION_CLOSED', options, socket))
      return false
    }
    const x = socket.write(chunk, fn)
`,
  },
  {
    from: '    clearImmediate(nextWriteTimer)\n    socket.removeListener',
    to: '    clearImmediate(nextWriteTimer)\n    chunk = nextWriteTimer = null\n    socket.removeListener',
  },
  {
    from: "    !hadError && (query || sent.length) && error(Errors.connection('CONNECTION_CLOSED', options, socket))\n",
    to: `    ;(query || sent.length) && error(Errors.connection('CONNECTION_CLOSED', options, socket))
    query = results = errorResponse = final = null
    result = new Result()
    rows = 0
`,
  },
];

/**
 * Fixes faults of the `postgres` driver that show when the database restarts, is cut off or falls silent (github.com/porsager/postgres, issues 1154 and
 * 1208). A rollback on a connection that has just died is written to no socket, which ends the whole process. A write that was put off when its
 * connection died keeps every later one on that connection from being sent. A rollback between a socket's error and its close is waited for by the next
 * session, which never gets free again. The rest of a dead session's answer becomes a part of the next one's.
 * Our package bundles the driver as it is fixed here, so an installed package needs no step of its own. Safe to repeat.
 * Remove this, and the bundling, when a release of the driver has the fixes.
 */
export function fixPostgresDriver() {
  const directory = join(root, 'node_modules/postgres');
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  if (version !== VERSION)
    throw new ToolError(
      `postgres ${version} is installed, the fixes are for ${VERSION}: see tools/lib/fix-postgres-driver.mjs`,
    );
  const path = join(directory, 'cjs/src/connection.js');
  const source = readFileSync(path, 'utf8');
  let fixed = source;
  for (const { from, to } of fixes) {
    if (fixed.includes(to)) continue;
    if (fixed.split(from).length !== 2)
      throw new ToolError(`${path} is not what postgres ${VERSION} brings; install it again`);
    fixed = fixed.replace(from, () => to);
  }
  if (fixed === source) return;
  const partial = `${path}.${process.pid}`;
  writeFileSync(partial, fixed);
  renameSync(partial, path);
}
