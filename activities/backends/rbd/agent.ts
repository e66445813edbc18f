import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import { unlessAbsent } from '../../../lib/errno';
import { createSemaphore } from '../../../lib/semaphore';
import { MAX_PARCEL_BYTES, PARCELS_FD, type AgentCalls, type AgentReply, type AgentRequest } from './agent-protocol';
import { describeImage, isProtected, imageSizeOf } from './agent/describe-image';
import { hashRange } from './agent/hash-range';
import { countClones, linkedParentOf, withLinked, type LinkedImage } from './agent/linked-images';
import { extentsOf, joinRanges, usedBytesOf, withoutObjectMap } from './agent/object-map';
import {
  closeImage,
  countOpenImages,
  getHandle,
  getImage,
  openImage,
  useImage,
  withImage,
} from './agent/image-handles';
import { checkRemoved, removeFromTrash, removeOneSnapshot, removeWithSnapshots } from './agent/removal';
import { calls, connect, connection, handle, ioOf, library, monCommand, plain } from './agent/session';
import { createStockedSnapshot, stockSnapshot } from './agent/snapshot-stock';
import { callCounts, listAll, type Handle } from './bindings';
import { CephError, isCephError } from './ceph-error';
import { TRASH_OBJECT, usableSpace } from './cluster';
import { completeUnopened } from './header';
import { receiveParcels } from './parcels';

/**
 * The process in which librbd runs: one connection, blocking calls on libuv's threads, fewer at once than there are threads. It is forked by
 * `library.ts`, which kills it when it hangs; a call of the library that goes wrong ends this process, never the worker.
 */

/** Below the size of the thread pool (`UV_THREADPOOL_SIZE`, set by whoever forks it): calls that wait for the cluster leave threads for others. */
const VISITS_AT_ONCE = 16;
/** Visits that may take minutes: they never keep clones from a thread. */
const LONG_VISITS_AT_ONCE = 8;
const MAX_OBJECT_BYTES = 64 * 1024;
/** layering, exclusive-lock, object-map, fast-diff, deep-flatten. */
const IMAGE_FEATURES = 61;
const OPTION_FORMAT = 0;
const OPTION_FEATURES = 1;
const OPTION_CLONE_FORMAT = 12;
const CREATE_EXCLUSIVE = 1;

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

async function complete(image: Handle, sizeBytes: number, metadata: Record<string, string>): Promise<void> {
  if ((await imageSizeOf(image)) < sizeBytes) await calls.resize(image, sizeBytes);
  for (const [key, value] of Object.entries(metadata)) await calls.setMetadata(image, key, value);
}

interface TrashEntry {
  id: string;
  name: string;
  deletion_time: number | bigint;
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

const agent: AgentCalls = {
  connect,

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

  async describeSnapshot({ image: name, snapshot, ...place }) {
    const io = await ioOf(place);
    const describe = async (image: Handle) => ({
      sizeBytes: await imageSizeOf(image),
      usedBytes: await usedBytesOf(image),
    });
    return await unlessAbsent(withImage(name, { writable: false, snapshot, io }, describe));
  },

  countChildren: (name, snapshot) => withImage(name, { writable: false, snapshot }, countClones),

  listExtents: (name, snapshot, range) =>
    withImage(name, { writable: false, snapshot }, async (image) => joinRanges(await extentsOf(image, range))),

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
    for (; parent !== undefined; count += 1) parent = await withLinked(parent, linkedParentOf);
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

  removeMetadata: (name, keys) =>
    withImage(name, { writable: true }, async (image) => {
      for (const key of keys) await unlessAbsent(calls.removeMetadata(image, key));
    }),

  shrinkImage: (name, sizeBytes) =>
    withImage(name, { writable: true }, async (image) => void (await calls.resize(image, sizeBytes))),

  createSnapshot: createStockedSnapshot,

  snapshotVolume: (name, snapshot, metadata) =>
    withImage(name, { writable: true }, async (image) => {
      for (const [key, value] of Object.entries(metadata)) await calls.setMetadata(image, key, value);
      await calls.createSnapshot(image, snapshot);
    }),

  async removeSnapshot(name, snapshot, metadataKey) {
    const remove = async (image: Handle): Promise<void> => {
      await unlessAbsent(removeOneSnapshot(image, snapshot));
      if (metadataKey !== undefined) await unlessAbsent(calls.removeMetadata(image, metadataKey));
    };
    await unlessAbsent(withImage(name, { writable: true }, remove));
  },

  protectSnapshot: (name, snapshot) =>
    withImage(name, { writable: true }, async (image) => {
      if (!(await isProtected(image, snapshot))) await calls.protectSnapshot(image, snapshot);
    }),

  async unprotectSnapshot(name, snapshot) {
    const unprotect = async (image: Handle): Promise<void> => {
      if (await isProtected(image, snapshot)) await calls.unprotectSnapshot(image, snapshot);
    };
    await unlessAbsent(withImage(name, { writable: true }, unprotect));
  },

  moveToTrash: async (name) => void (await calls.moveToTrash(connection().io, name, 0)),

  async hasClones(trashId) {
    const image = await handle((out) => calls.openByIdReadOnly(connection().io, trashId, out, null));
    try {
      return (await countClones(image)) > 0;
    } finally {
      await calls.close(image);
    }
  },

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

  emptyImage: (name, sizeBytes) =>
    withImage(name, { writable: true }, async (image) => {
      await calls.resize(image, 0);
      await calls.resize(image, sizeBytes);
    }),

  async openImage(name, options) {
    const image = await openImage(name, options);
    try {
      return { image, sizeBytes: await imageSizeOf(getHandle(image)) };
    } catch (error) {
      await closeImage(image);
      throw error;
    }
  },
  readAt: (image, offset, lengthBytes) =>
    useImage(image, async ({ handle: opened }) => {
      const bytes = Buffer.allocUnsafe(lengthBytes);
      return bytes.subarray(0, await calls.read(opened, offset, lengthBytes, bytes, 0));
    }),
  hashOn: (image, algorithm, range) =>
    useImage(image, async (opened) => {
      opened.hash ??= createHash(algorithm);
      await hashRange(opened.handle, opened.hash, range);
    }),
  digestOf: (image) => Promise.resolve(getImage(image).hash?.digest('hex') ?? ''),
  writeAt: (image, offset, bytes) =>
    useImage(image, async ({ handle: opened }) => void (await calls.write(opened, offset, bytes.length, bytes, 0))),
  flushImage: (image) => useImage(image, async ({ handle: opened }) => void (await calls.flush(opened))),
  closeImage,
  countCalls: () => Promise.resolve({ ...callCounts }),
  countOpenImages: () => Promise.resolve(countOpenImages()),
};

const longCalls: readonly string[] = [
  'removeImage',
  'removeFromTrash',
  'prepareSnapshot',
  'createSnapshot',
  'snapshotVolume',
  'removeSnapshot',
  'protectSnapshot',
  'unprotectSnapshot',
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
