import { constants } from 'node:os';
import type { AgentCalls, AgentReply } from '../agent-protocol';
import { decodeText, loadLibraries, type Handle } from '../bindings';
import { CephError, isCephError } from '../ceph-error';
import { deadlinesOf, monitorsOf, type SnapshotSpec } from '../cluster';

/** librados and librbd, loaded once in this process. */
export const library = loadOrSay();
export const { calls, plain, handle } = library;

function loadOrSay(): ReturnType<typeof loadLibraries> {
  try {
    return loadLibraries();
  } catch (error) {
    process.send?.({ missing: String(error) } satisfies AgentReply);
    throw error;
  }
}

interface Connection {
  cluster: Handle;
  io: Handle;
  pool: string;
}
let connected: Connection | undefined;
export const connection = (): Connection => {
  if (connected === undefined) throw new Error('the agent is not connected');
  return connected;
};

/** Connects the process to its pool, once. @returns which cluster it is, and where its monitors are. */
export const connect: AgentCalls['connect'] = async ({ operationsAtOnce, ...place }) => {
  const { pool, namespace, conf, user, keyring } = place;
  const cluster = await handle((out) => calls.create(out, 'ceph', `client.${user}`, 0));
  await calls.readConf(cluster, conf);
  for (const [option, value] of Object.entries(deadlinesOf(place))) await calls.setConf(cluster, option, value);
  // Writes are as large as objects, and several are on their way: a cache would only keep from them that the pool is full.
  await calls.setConf(cluster, 'rbd_cache', 'false');
  if (operationsAtOnce !== undefined)
    await calls.setConf(cluster, 'rbd_concurrent_management_ops', String(operationsAtOnce));
  if (keyring !== undefined) await calls.setConf(cluster, 'keyring', keyring);
  await calls.connect(cluster);
  const io = await handle((out) => calls.openPool(cluster, pool, out));
  plain.failWhenFull(io);
  if (namespace !== undefined) {
    plain.setNamespace(io, namespace);
    await checkNamespace(io, namespace);
  }
  connected = { cluster, io, pool };
  const fsid = Buffer.alloc(64);
  await calls.fsid(cluster, fsid, fsid.length);
  const map = (await monCommand({ prefix: 'mon dump', format: 'json' })) as {
    mons: { public_addrs: { addrvec: { type: string; addr: string }[] } }[];
  };
  const monitors = monitorsOf(map.mons.map(({ public_addrs }) => public_addrs.addrvec));
  return { fsid: fsid.toString('utf8', 0, fsid.indexOf(0)), monitors };
};

/** Other pools of the cluster, and their namespaces, whose images are only read. */
const otherPlaces = new Map<string, Promise<Handle>>();

export async function ioOf({ pool, namespace = '' }: Pick<SnapshotSpec, 'pool' | 'namespace'>): Promise<Handle> {
  if (pool === undefined) return connection().io;
  const place = `${pool}/${namespace}`;
  const opening = otherPlaces.get(place) ?? openPlace(pool, namespace);
  otherPlaces.set(place, opening);
  opening.catch(() => otherPlaces.delete(place));
  return await opening;
}

async function openPlace(pool: string, namespace: string): Promise<Handle> {
  const io = await handle((out) => calls.openPool(connection().cluster, pool, out));
  plain.setNamespace(io, namespace);
  return io;
}

export async function monCommand(command: object): Promise<unknown> {
  const output: [unknown] = [null];
  const length: [number | bigint] = [0];
  const status: [unknown] = [null];
  const statusLength: [number | bigint] = [0];
  await calls.monCommand(
    connection().cluster,
    [JSON.stringify(command)],
    1,
    null,
    0,
    output,
    length,
    status,
    statusLength,
  );
  try {
    return JSON.parse(decodeText(output[0], Number(length[0])));
  } finally {
    if (output[0] !== null) plain.freeBuffer(output[0]);
    if (status[0] !== null) plain.freeBuffer(status[0]);
  }
}

/** Objects can be written into a namespace that nobody has made, and no tool would find them. */
async function checkNamespace(io: Handle, namespace: string): Promise<void> {
  const exists: [boolean] = [true];
  try {
    await calls.namespaceExists(io, namespace, exists);
  } catch (error) {
    // A user of that namespace alone may not ask.
    if (!isCephError(error, 'forbidden')) throw error;
  }
  if (!exists[0]) throw new CephError('rbd_namespace_exists', constants.errno.ENOENT);
}
