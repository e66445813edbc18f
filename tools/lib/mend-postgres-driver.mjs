import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, ToolError } from './run.mjs';

const VERSION = '3.4.9';
const MARK = '/* mended by image-volume-cache */';

/** What the driver says, and what it should say. */
const mends = [
  {
    from: '  function nextWrite(fn) {\n    const x = socket.write(chunk, fn)\n',
    to: `  function nextWrite(fn) { ${MARK}
    if (socket === null) {
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
 * Fixes faults of the `postgres` driver that a restart, a cut or a silence of the database brings to light (github.com/porsager/postgres, issues 1154 and
 * 1208): a rollback on a connection that has just died is written to no socket, which ends the whole process; a write that was put off when its connection
 * died keeps every later one on that connection from being sent; and a rollback that comes between a socket's error and its close is waited for by the
 * next session, which never gets free again. What a dead session has left of an answer is no part of the next one's. Safe to repeat.
 * Drop it when a release of the driver has the guards.
 */
export function mendPostgresDriver() {
  const directory = join(root, 'node_modules/postgres');
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  if (version !== VERSION)
    throw new ToolError(
      `postgres ${version} is installed, the mend is for ${VERSION}: see tools/lib/mend-postgres-driver.mjs`,
    );
  const path = join(directory, 'cjs/src/connection.js');
  const source = readFileSync(path, 'utf8');
  let mended = source;
  for (const { from, to } of mends) {
    if (mended.includes(to)) continue;
    if (mended.split(from).length !== 2)
      throw new ToolError(`${path} is not what postgres ${VERSION} brings; install it again`);
    mended = mended.replace(from, () => to);
  }
  if (mended === source) return;
  const partial = `${path}.${process.pid}`;
  writeFileSync(partial, mended);
  renameSync(partial, path);
}
