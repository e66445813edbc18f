import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:os';
import { unlessAbsent } from '../../../lib/errno';
import { createSemaphore } from '../../../lib/semaphore';
import { MAX_PARCEL_BYTES, PARCELS_FD, type AgentCalls, type AgentReply, type AgentRequest } from './agent-protocol';
import { callCounts, decodeText, koffi, listAll, loadLibraries, type Handle } from './bindings';
import { CephError, isCephError } from './ceph-error';
import { deadlinesOf, monitorsOf, TRASH_OBJECT, usableSpace, type RbdImage, type SnapshotSpec } from './cluster';
import { addSnapshot, allocateSnapshot, completeUnopened } from './header';
import { receiveParcels } from './parcels';

/**
 * The process in which librbd runs: one connection, blocking calls on libuv's threads, fewer at once than there are threads. It is forked by
 * `library.ts`, which kills it when it hangs; a call of the library that goes wrong ends this process, never the worker.
 */

/** Below the size of the thread pool (`UV_THREADPOOL_SIZE`, set by whoever forks it): calls that wait for the cluster leave threads for others. */
const VISITS_AT_ONCE = 16;
/** What may take minutes: it never keeps clones from a thread. */
const LONG_VISITS_AT_ONCE = 8;
const MAX_METADATA_BYTES = 64 * 1024;
const MAX_OBJECT_BYTES = 64 * 1024;
const FEATURE_OBJECT_MAP = 1n << 3n;
const FEATURE_FAST_DIFF = 1n << 4n;
const FLAG_FAST_DIFF_INVALID = 1n << 1n;
/** layering, exclusive-lock, object-map, fast-diff, deep-flatten. */
const IMAGE_FEATURES = 61;
const OPTION_FORMAT = 0;
const OPTION_FEATURES = 1;
const OPTION_CLONE_FORMAT = 12;
const CREATE_EXCLUSIVE = 1;

const library = loadOrSay();
const { calls, plain, handle } = library;

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
const connection = (): Connection => {
  if (connected === undefined) throw new Error('the agent is not connected');
  return connected;
};

/** Other pools of the cluster, whose images are only read. */
const otherPools = new Map<string, Promise<Handle>>();

async function ioOf({ pool }: Pick<SnapshotSpec, 'pool'>): Promise<Handle> {
  const { cluster, io } = connection();
  if (pool === undefined) return io;
  const opening = otherPools.get(pool) ?? handle((out) => calls.openPool(cluster, pool, out));
  otherPools.set(pool, opening);
  opening.catch(() => otherPools.delete(pool));
  return await opening;
}

const openImages = new Map<number, { handle: Handle; hash?: Hash }>();
let lastImage = 0;

/** Opens an image for one piece of work; it is closed on every path, before a failure is told. */
async function withImage<Result>(
  name: string,
  options: { writable: boolean; snapshot?: string | null; io?: Handle },
  work: (image: Handle) => Promise<Result>,
): Promise<Result> {
  const number = await openImage(name, options);
  try {
    return await work(getHandle(number));
  } finally {
    await closeImage(number);
  }
}

async function openImage(
  name: string,
  { writable, snapshot = null, io = connection().io }: { writable: boolean; snapshot?: string | null; io?: Handle },
): Promise<number> {
  const opened = await handle((out) => (writable ? calls.open : calls.openReadOnly)(io, name, out, snapshot));
  const number = (lastImage += 1);
  openImages.set(number, { handle: opened });
  return number;
}

/** A handle that was closed, or never opened, is an error here and not a crash in the library. */
async function closeImage(number: number): Promise<void> {
  const image = getHandle(number);
  openImages.delete(number);
  await calls.close(image);
}

const getHandle = (number: number): Handle => getImage(number).handle;

function getImage(number: number): { handle: Handle; hash?: Hash } {
  const image = openImages.get(number);
  if (image === undefined) throw new Error(`image ${number} is not open`);
  return image;
}

async function withOptions<Result>(
  options: [name: number, value: number][],
  work: (options: Handle) => Promise<Result>,
) {
  const out: [Handle | null] = [null];
  plain.createOptions(out);
  try {
    for (const [name, value] of options) plain.setOption(out[0], name, value);
    return await work(out[0] as Handle);
  } finally {
    plain.destroyOptions(out[0]);
  }
}

async function monCommand(command: object): Promise<unknown> {
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

async function getMetadata(image: Handle, key: string): Promise<string | undefined> {
  const value = Buffer.alloc(MAX_METADATA_BYTES);
  const found = await unlessAbsent(calls.getMetadata(image, key, value, [value.length]));
  return found === undefined ? undefined : value.toString('utf8', 0, value.indexOf(0));
}

async function sizeOf(image: Handle): Promise<number> {
  const size: [number | bigint] = [0];
  await calls.size(image, size);
  return Number(size[0]);
}

async function complete(image: Handle, sizeBytes: number, metadata: Record<string, string>): Promise<void> {
  if ((await sizeOf(image)) < sizeBytes) await calls.resize(image, sizeBytes);
  for (const [key, value] of Object.entries(metadata)) await calls.setMetadata(image, key, value);
}

/** Does `work` without the image's object map, and makes that anew after it. */
async function withoutObjectMap(image: Handle, work: () => Promise<unknown>): Promise<void> {
  const features: [number | bigint] = [0];
  await calls.features(image, features);
  const found = BigInt(features[0]) & (FEATURE_OBJECT_MAP | FEATURE_FAST_DIFF);
  if (found !== 0n) await calls.updateFeatures(image, found, 0);
  await work();
  if (found === 0n) return;
  await calls.updateFeatures(image, found, 1);
  // librbd tells of its progress, whether one asks or not.
  const onProgress = koffi.register(() => 0, 'rbd_progress *');
  try {
    await calls.rebuildObjectMap(image, onProgress, null);
  } finally {
    koffi.unregister(onProgress);
  }
}

async function snapshotNames(image: Handle): Promise<string[]> {
  const found = await listAll<{ name: string }>('rbd_snap_info_t', {
    fill: (array, count) => calls.listSnapshots(image, array, count),
    // This one answers the count itself.
    countOf: (count) => count,
    clean: (array) => plain.cleanSnapshots(array),
  });
  return found.map(({ name }) => name);
}

async function parentOf(image: Handle): Promise<RbdImage['parent']> {
  const linked = await linkedParentOf(image);
  if (linked === undefined) return undefined;
  const { pool_name, pool_namespace, image_name, trash, snapshot } = linked;
  return { pool: pool_name, namespace: pool_namespace ?? '', image: image_name, snapshot, inTrash: trash };
}

async function linkedParentOf(image: Handle): Promise<(LinkedImage & { snapshot: string }) | undefined> {
  const parent = koffi.alloc('rbd_linked_image_spec_t', 1);
  const snapshot = koffi.alloc('rbd_snap_spec_t', 1);
  try {
    if ((await unlessAbsent(calls.parent(image, parent, snapshot))) === undefined) return undefined;
    const linked = koffi.decode(parent, 'rbd_linked_image_spec_t') as LinkedImage;
    const { name } = koffi.decode(snapshot, 'rbd_snap_spec_t') as { name: string };
    plain.cleanLinked(parent);
    plain.cleanSnapshotSpec(snapshot);
    return { ...linked, snapshot: name };
  } finally {
    koffi.free(parent);
    koffi.free(snapshot);
  }
}

/** By its id, since it may be in the trash, and in its own pool. */
async function parentOfLinked({ pool_name, pool_namespace, image_id }: LinkedImage): Promise<LinkedImage | undefined> {
  const io = await handle((out) => calls.openPool(connection().cluster, pool_name, out));
  try {
    plain.setNamespace(io, pool_namespace ?? '');
    const image = await handle((out) => calls.openByIdReadOnly(io, image_id, out, null));
    try {
      return await linkedParentOf(image);
    } finally {
      await calls.close(image);
    }
  } finally {
    plain.closePool(io);
  }
}

interface TrashEntry {
  id: string;
  name: string;
  deletion_time: number | bigint;
}
interface LinkedImage {
  image_id: string;
  pool_name: string;
  pool_namespace: string | null;
  image_name: string;
  trash: boolean;
}

/** From the object map, in this thread: milliseconds. Where there is none that holds, the image counts as full. */
async function usedBytesOf(image: Handle): Promise<number> {
  const sizeBytes = await sizeOf(image);
  const features: [number | bigint] = [0];
  const flags: [number | bigint] = [0];
  await calls.features(image, features);
  await calls.flags(image, flags);
  const isKnown =
    (BigInt(features[0]) & FEATURE_FAST_DIFF) !== 0n && (BigInt(flags[0]) & FLAG_FAST_DIFF_INVALID) === 0n;
  if (!isKnown) return sizeBytes;
  let used = 0;
  const count = (_offset: number | bigint, length: number | bigint, exists: number): number => {
    if (exists) used += Number(length);
    return 0;
  };
  const outcome = plain.iterateDiff(image, null, 0, sizeBytes, 0, 1, count, null) as number;
  if (outcome < 0) throw new CephError('rbd_diff_iterate2', -outcome);
  return used;
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

async function createObject(name: string, bytes: Buffer): Promise<boolean> {
  const op = plain.createOp();
  try {
    plain.opCreate(op, CREATE_EXCLUSIVE, null);
    if (bytes.length > 0) plain.opWrite(op, bytes, bytes.length);
    await calls.operate(op, connection().io, name, null, 0);
    return true;
  } catch (error) {
    if (isCephError(error, 'exists')) return false;
    throw error;
  } finally {
    plain.releaseOp(op);
  }
}

async function describeImage(name: string, metadataKeys: readonly string[]): Promise<RbdImage | undefined> {
  const describe = async (image: Handle): Promise<RbdImage> => {
    const time = {} as { tv_sec: number | bigint };
    await calls.modified(image, time);
    const metadata: RbdImage['metadata'] = {};
    for (const key of metadataKeys) metadata[key] = await getMetadata(image, key);
    const parent = await parentOf(image);
    return {
      sizeBytes: await sizeOf(image),
      modifiedAt: new Date(Number(time.tv_sec) * 1000),
      snapshots: await snapshotNames(image),
      metadata,
      ...(parent !== undefined && { parent }),
    };
  };
  return await unlessAbsent(withImage(name, { writable: false }, describe));
}

/** A number for the next snapshot: to have it at hand spares a population the wait. One that is never used costs nothing. */
let nextSnapshot: Promise<bigint | undefined> | undefined;

/** @returns undefined where there was none: librbd asks for its own then, and tells why it gets none. */
function stockSnapshot(): Promise<bigint | undefined> {
  nextSnapshot ??= allocateSnapshot(library, connection().io).catch(() => undefined);
  return nextSnapshot;
}

async function createSnapshot(name: string, snapshot: string): Promise<void> {
  const stocked = stockSnapshot();
  nextSnapshot = undefined;
  const id = await stocked;
  void stockSnapshot();
  await withImage(name, { writable: true }, async (image) => {
    if (id === undefined || !(await addSnapshot(library, { io: connection().io, image }, { name: snapshot, id })))
      await calls.createSnapshot(image, snapshot);
  });
}

const agent: AgentCalls = {
  async connect({ operationsAtOnce, ...place }) {
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
  },

  async space() {
    const { pools } = (await monCommand({ prefix: 'df', format: 'json' })) as {
      pools: { name: string; stats: { stored: number; max_avail: number; quota_bytes?: number } }[];
    };
    const found = pools.find(({ name }) => name === connection().pool);
    if (found === undefined) throw new CephError('df', constants.errno.ENOENT);
    const { stored, max_avail } = found.stats;
    const quota = (
      (await monCommand({ prefix: 'osd pool get-quota', pool: connection().pool, format: 'json' })) as {
        quota_max_bytes: number;
      }
    ).quota_max_bytes;
    return usableSpace({ storedBytes: stored, availableBytes: max_avail, quotaBytes: quota });
  },

  async readObject(name) {
    const bytes = Buffer.alloc(MAX_OBJECT_BYTES);
    const lengthBytes = await unlessAbsent(calls.readObject(connection().io, name, bytes, bytes.length, 0));
    return lengthBytes === undefined ? undefined : bytes.subarray(0, lengthBytes);
  },

  async objectWrittenAt(name) {
    const size: [number | bigint] = [0];
    const seconds: [number | bigint] = [0];
    const found = await unlessAbsent(calls.statObject(connection().io, name, size, seconds));
    return found === undefined ? undefined : new Date(Number(seconds[0]) * 1000);
  },

  createObject,
  removeObject: async (name) => void (await unlessAbsent(calls.removeObject(connection().io, name))),
  ensureTrash: async () => void (await createObject(TRASH_OBJECT, Buffer.alloc(0))),

  async listImages() {
    const found = await listAll<{ name: string }>('rbd_image_spec_t', {
      fill: (array, count) => calls.list(connection().io, array, count),
      clean: (array, count) => plain.cleanImages(array, count),
    });
    return found.map(({ name }) => name);
  },

  async listTrash() {
    const found = await listAll<TrashEntry>('rbd_trash_image_info_t', {
      fill: (array, count) => calls.listTrash(connection().io, array, count),
      clean: (array, count) => plain.cleanTrash(array, count),
    });
    return found.map(({ id, name, deletion_time }) => ({
      id,
      name,
      deletedAt: new Date(Number(deletion_time) * 1000),
    }));
  },

  describeImage,

  usedBytes: (name, snapshot) => withImage(name, { writable: false, snapshot }, usedBytesOf),

  async describeSnapshot({ pool, image: name, snapshot }) {
    const io = await ioOf({ pool });
    const describe = async (image: Handle) => ({
      sizeBytes: await sizeOf(image),
      usedBytes: await usedBytesOf(image),
    });
    return await unlessAbsent(withImage(name, { writable: false, snapshot, io }, describe));
  },

  countChildren: (name, snapshot) =>
    withImage(name, { writable: false, snapshot }, async (image) => {
      const found = await listAll<LinkedImage>('rbd_linked_image_spec_t', {
        fill: (array, count) => calls.children(image, array, count),
        clean: (array, count) => plain.cleanLinkedList(array, count),
      });
      return found.length;
    }),

  listWatchers: (name) =>
    withImage(name, { writable: false }, async (image) => {
      const own = BigInt(plain.instanceId(connection().cluster) as number | bigint);
      const found = await listAll<{ addr: string; id: number | bigint }>('rbd_image_watcher_t', {
        fill: (array, count) => calls.watchers(image, array, count),
        clean: (array, count) => plain.cleanWatchers(array, count),
      });
      return found.map(({ addr, id }) => ({ address: addr, own: BigInt(id) === own }));
    }),

  async countAncestors(name) {
    let count = 0;
    let parent: LinkedImage | undefined = await withImage(name, { writable: false }, linkedParentOf);
    for (; parent !== undefined; count += 1) parent = await parentOfLinked(parent);
    return count;
  },

  createImage: (name, sizeBytes) =>
    withOptions(
      [
        [OPTION_FORMAT, 2],
        [OPTION_FEATURES, IMAGE_FEATURES],
      ],
      async (options) => {
        await calls.createImage(connection().io, name, sizeBytes, options);
        void stockSnapshot();
      },
    ),

  async cloneImage(parent, { name, sizeBytes, metadata }) {
    const { io } = connection();
    const parentIo = await ioOf(parent);
    await withOptions(
      [
        [OPTION_FORMAT, 2],
        [OPTION_FEATURES, IMAGE_FEATURES],
        [OPTION_CLONE_FORMAT, 2],
      ],
      async (options) => await calls.clone(parentIo, parent.image, parent.snapshot, io, name, options),
    );
    await completeUnopened(library, io, { name, sizeBytes, metadata });
  },

  completeImage: (name, { sizeBytes, metadata }) =>
    withImage(name, { writable: true }, async (image) => await complete(image, sizeBytes, metadata)),

  createSnapshot,

  async renameImage(from, to) {
    await calls.rename(connection().io, from, to);
  },

  async removeImage(name) {
    const { io } = connection();
    try {
      await removeWithSnapshots(io, name);
    } catch (error) {
      if (isCephError(error, 'absent')) return await checkRemoved(name);
      if (!isCephError(error, 'busy')) throw error;
      // A client that was killed holds it for half a minute, and a removal waits as long for it: then its name is free, and its bytes go later.
      await calls.moveToTrash(io, name, 0);
    }
  },

  async removeFromTrash(id) {
    try {
      await removeFromTrash(connection().io, id);
      return true;
    } catch (error) {
      if (isCephError(error, 'absent')) return true;
      if (isCephError(error, 'busy', 'not-empty')) return false;
      throw error;
    }
  },

  flatten: (name) =>
    withImage(name, { writable: true }, (image) => withoutObjectMap(image, () => calls.flatten(image))),

  async openImage(name, options) {
    const image = await openImage(name, options);
    try {
      return { image, sizeBytes: await sizeOf(getHandle(image)) };
    } catch (error) {
      await closeImage(image);
      throw error;
    }
  },
  async readAt(image, offset, lengthBytes) {
    const bytes = Buffer.allocUnsafe(lengthBytes);
    return bytes.subarray(0, await calls.read(getHandle(image), offset, lengthBytes, bytes, 0));
  },
  async hashOn(image, algorithm, range) {
    const opened = getImage(image);
    opened.hash ??= createHash(algorithm);
    await hashRange(opened.handle, opened.hash, range);
  },
  digestOf: (image) => Promise.resolve(getImage(image).hash?.digest('hex') ?? ''),
  async writeAt(image, offset, bytes) {
    await calls.write(getHandle(image), offset, bytes.length, bytes, 0);
  },
  async flushImage(image) {
    await calls.flush(getHandle(image));
  },
  closeImage,
  countCalls: () => Promise.resolve({ ...callCounts }),
  countOpenImages: () => Promise.resolve(openImages.size),
};

const HASHED_PIECE_BYTES = 4 * 1024 ** 2;
/** Pieces that are read while an earlier one is hashed. */
const READS_AHEAD = 6;

async function hashRange(
  image: Handle,
  hash: Hash,
  { offset, lengthBytes }: { offset: number; lengthBytes: number },
): Promise<void> {
  const end = offset + lengthBytes;
  const reads: Promise<Buffer>[] = [];
  const buffers = Array.from({ length: READS_AHEAD }, () => Buffer.allocUnsafe(HASHED_PIECE_BYTES));
  const read = async (at: number, buffer: Buffer): Promise<Buffer> => {
    const wanted = Math.min(HASHED_PIECE_BYTES, end - at);
    const count = await calls.read(image, at, wanted, buffer, 0);
    if (count < wanted) throw new Error(`the image ends at byte ${at + count}`);
    return buffer.subarray(0, wanted);
  };
  let next = offset;
  const readOn = (buffer: Buffer): void => {
    if (next >= end) return;
    const piece = read(next, buffer);
    // It is awaited in its turn.
    piece.catch(() => undefined);
    reads.push(piece);
    next += HASHED_PIECE_BYTES;
  };
  for (const buffer of buffers) readOn(buffer);
  try {
    for (let piece = await reads.shift(); piece !== undefined; piece = await reads.shift()) {
      hash.update(piece);
      readOn(Buffer.from(piece.buffer, piece.byteOffset, HASHED_PIECE_BYTES));
    }
  } finally {
    await Promise.allSettled(reads);
  }
}

async function removeWithSnapshots(io: Handle, name: string): Promise<void> {
  try {
    await calls.remove(io, name);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    await withImage(name, { writable: true }, async (image) => {
      for (const snapshot of await snapshotNames(image)) await calls.removeSnapshot(image, snapshot);
    });
    await calls.remove(io, name);
  }
}

/** The library says ENOENT also where a step on the way to the trash went wrong, such as one that timed out. */
async function checkRemoved(name: string): Promise<void> {
  if ((await describeImage(name, [])) !== undefined) throw new CephError('rbd_remove', constants.errno.ETIMEDOUT);
}

async function removeFromTrash(io: Handle, id: string): Promise<void> {
  try {
    await calls.removeFromTrash(io, id, true);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    const image = await handle((out) => calls.openById(io, id, out, null));
    try {
      for (const snapshot of await snapshotNames(image)) await calls.removeSnapshot(image, snapshot);
    } finally {
      await calls.close(image);
    }
    await calls.removeFromTrash(io, id, true);
  }
}

const longCalls: readonly string[] = [
  'removeImage',
  'removeFromTrash',
  'prepareSnapshot',
  'createSnapshot',
  'listImages',
  'listTrash',
];
const visits = createSemaphore(VISITS_AT_ONCE);
const longVisits = createSemaphore(LONG_VISITS_AT_ONCE);
const inTurn = { signal: new AbortController().signal, onWait: () => undefined };

const parcels = receiveParcels(PARCELS_FD, MAX_PARCEL_BYTES);

async function answer({ id, call, args }: AgentRequest): Promise<AgentReply> {
  const taken: Buffer[] = [];
  const open = async (arg: unknown): Promise<unknown> => {
    if (typeof arg !== 'object' || arg === null || !('parcel' in arg)) return arg;
    const bytes = await parcels.take(Number(arg.parcel));
    taken.push(bytes);
    return bytes;
  };
  const run = async (): Promise<AgentReply> => {
    const opened = await Promise.all(args.map(open));
    const value = await (agent[call] as (...args: unknown[]) => Promise<unknown>)(...opened);
    return { id, value };
  };
  try {
    return await (longCalls.includes(call) ? longVisits : visits).run(run, inTurn);
  } catch (error) {
    if (error instanceof CephError) return { id, ceph: { call: error.call, errno: error.errno } };
    return { id, bug: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  } finally {
    for (const bytes of taken) parcels.giveBack(bytes);
  }
}

process.on('message', (request: AgentRequest) => {
  void answer(request).then((reply) => process.send?.(reply));
});
// `exit` would wait for calls that hang; nothing here needs to be tidied.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
