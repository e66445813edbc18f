import { constants } from 'node:os';
import type * as Koffi from 'koffi' with { 'resolution-mode': 'import' };
import { CephError } from './ceph-error';

// Its types are an ES module's, its code is both.
export const koffi = require('koffi') as typeof Koffi;

/**
 * librados and librbd as far as the agent needs them: blocking calls that run on libuv's threads. Nothing else of the product loads koffi.
 * Every call holds its arguments until it has ended; one that answers below zero throws a `CephError` with its errno. A handle must not be used after
 * it was closed: the library would end the process.
 * Source: rados/librados.h, rbd/librbd.h of Ceph 16 (the calls are the same in later releases).
 */

export type Handle = { readonly brand: 'handle' };
type Out<T> = [T | null];

/** Read of a whole list whose length only the library knows: it is asked again with the length that it names. */
const FIRST_LENGTH = 64;
const { ERANGE } = constants.errno;

export function loadLibraries() {
  const rados = koffi.load('librados.so.2');
  const rbd = koffi.load('librbd.so.1');
  koffi.struct('rbd_image_spec_t', { id: 'char *', name: 'char *' });
  koffi.struct('rbd_linked_image_spec_t', {
    pool_id: 'int64_t',
    pool_name: 'char *',
    pool_namespace: 'char *',
    image_id: 'char *',
    image_name: 'char *',
    trash: 'bool',
  });
  koffi.struct('rbd_snap_spec_t', { id: 'uint64_t', namespace_type: 'int', name: 'char *' });
  koffi.struct('rbd_snap_info_t', { id: 'uint64_t', size: 'uint64_t', name: 'char *' });
  koffi.struct('rbd_trash_image_info_t', {
    id: 'char *',
    name: 'char *',
    source: 'int',
    deletion_time: 'int64_t',
    deferment_end_time: 'int64_t',
  });
  koffi.struct('rbd_image_watcher_t', { addr: 'char *', id: 'int64_t', cookie: 'uint64_t' });
  koffi.struct('timespec', { tv_sec: 'int64_t', tv_nsec: 'int64_t' });
  koffi.proto('int rbd_diff_callback(uint64_t offset, size_t length, int exists, void *argument)');
  koffi.proto('int rbd_progress(uint64_t offset, uint64_t total, void *argument)');

  const call = (library: ReturnType<typeof koffi.load>, prototype: string) =>
    blocking(library.func(prototype), prototype);
  const handle = async (made: (out: Out<Handle>) => Promise<number>): Promise<Handle> => {
    const out: Out<Handle> = [null];
    await made(out);
    if (out[0] === null) throw new Error('the library made no handle');
    return out[0];
  };

  const calls = {
    create: call(rados, 'int rados_create2(_Out_ void **cluster, str name, str user, uint64_t flags)'),
    readConf: call(rados, 'int rados_conf_read_file(void *cluster, str path)'),
    setConf: call(rados, 'int rados_conf_set(void *cluster, str option, str value)'),
    connect: call(rados, 'int rados_connect(void *cluster)'),
    fsid: call(rados, 'int rados_cluster_fsid(void *cluster, _Out_ char *text, size_t length)'),
    openPool: call(rados, 'int rados_ioctx_create(void *cluster, str pool, _Out_ void **io)'),
    monCommand: call(
      rados,
      'int rados_mon_command(void *cluster, const char **command, size_t count, str input, size_t inputLength, _Out_ void **output, _Out_ size_t *outputLength, _Out_ void **status, _Out_ size_t *statusLength)',
    ),
    readObject: call(rados, 'int rados_read(void *io, str name, _Out_ uint8_t *bytes, size_t length, uint64_t offset)'),
    statObject: call(rados, 'int rados_stat(void *io, str name, _Out_ uint64_t *size, _Out_ int64_t *writtenAt)'),
    execute: call(
      rados,
      'int rados_exec(void *io, str name, str class, str method, const uint8_t *input, size_t inputLength, _Out_ uint8_t *output, size_t outputLength)',
    ),
    allocateSnapshot: call(rados, 'int rados_ioctx_selfmanaged_snap_create(void *io, _Out_ uint64_t *snapshot)'),
    removeObject: call(rados, 'int rados_remove(void *io, str name)'),
    operate: call(rados, 'int rados_write_op_operate(void *op, void *io, str name, void *mtime, int flags)'),
    namespaceExists: call(rbd, 'int rbd_namespace_exists(void *io, str name, _Out_ bool *exists)'),
    list: call(rbd, 'int rbd_list2(void *io, void *images, _Inout_ size_t *count)'),
    listTrash: call(rbd, 'int rbd_trash_list(void *io, void *entries, _Inout_ size_t *count)'),
    createImage: call(rbd, 'int rbd_create4(void *io, str name, uint64_t size, void *options)'),
    clone: call(rbd, 'int rbd_clone3(void *parentIo, str parent, str snapshot, void *io, str name, void *options)'),
    open: call(rbd, 'int rbd_open(void *io, str name, _Out_ void **image, str snapshot)'),
    openById: call(rbd, 'int rbd_open_by_id(void *io, str id, _Out_ void **image, str snapshot)'),
    openByIdReadOnly: call(rbd, 'int rbd_open_by_id_read_only(void *io, str id, _Out_ void **image, str snapshot)'),
    openReadOnly: call(rbd, 'int rbd_open_read_only(void *io, str name, _Out_ void **image, str snapshot)'),
    close: call(rbd, 'int rbd_close(void *image)'),
    imageId: call(rbd, 'int rbd_get_id(void *image, _Out_ char *id, size_t length)'),
    lock: call(rbd, 'int rbd_lock_acquire(void *image, int mode)'),
    size: call(rbd, 'int rbd_get_size(void *image, _Out_ uint64_t *size)'),
    resize: call(rbd, 'int rbd_resize(void *image, uint64_t size)'),
    flags: call(rbd, 'int rbd_get_flags(void *image, _Out_ uint64_t *flags)'),
    features: call(rbd, 'int rbd_get_features(void *image, _Out_ uint64_t *features)'),
    updateFeatures: call(rbd, 'int rbd_update_features(void *image, uint64_t features, uint8_t enabled)'),
    modified: call(rbd, 'int rbd_get_modify_timestamp(void *image, _Out_ timespec *time)'),
    parent: call(rbd, 'int rbd_get_parent(void *image, void *parent, void *snapshot)'),
    children: call(rbd, 'int rbd_list_children3(void *image, void *children, _Inout_ size_t *count)'),
    getMetadata: call(rbd, 'int rbd_metadata_get(void *image, str key, _Out_ char *value, _Inout_ size_t *length)'),
    setMetadata: call(rbd, 'int rbd_metadata_set(void *image, str key, str value)'),
    removeMetadata: call(rbd, 'int rbd_metadata_remove(void *image, str key)'),
    setSnapshot: call(rbd, 'int rbd_snap_set_by_id(void *image, uint64_t snapshot)'),
    createSnapshot: call(rbd, 'int rbd_snap_create(void *image, str name)'),
    removeSnapshot: call(rbd, 'int rbd_snap_remove(void *image, str name)'),
    isProtected: call(rbd, 'int rbd_snap_is_protected(void *image, str name, _Out_ int *isProtected)'),
    protectSnapshot: call(rbd, 'int rbd_snap_protect(void *image, str name)'),
    unprotectSnapshot: call(rbd, 'int rbd_snap_unprotect(void *image, str name)'),
    listSnapshots: call(rbd, 'int rbd_snap_list(void *image, void *snapshots, _Inout_ int *count)'),
    watchers: call(rbd, 'int rbd_watchers_list(void *image, void *watchers, _Inout_ size_t *count)'),
    rename: call(rbd, 'int rbd_rename(void *io, str from, str to)'),
    remove: call(rbd, 'int rbd_remove(void *io, str name)'),
    moveToTrash: call(rbd, 'int rbd_trash_move(void *io, str name, uint64_t delay)'),
    removeFromTrash: call(rbd, 'int rbd_trash_remove(void *io, str id, bool force)'),
    flatten: call(rbd, 'int rbd_flatten(void *image)'),
    rebuildObjectMap: call(rbd, 'int rbd_rebuild_object_map(void *image, rbd_progress *onProgress, void *argument)'),
    read: call(rbd, 'int64_t rbd_read2(void *image, uint64_t offset, size_t length, _Out_ uint8_t *bytes, int flags)'),
    write: call(
      rbd,
      'int64_t rbd_write2(void *image, uint64_t offset, size_t length, const uint8_t *bytes, int flags)',
    ),
    flush: call(rbd, 'int rbd_flush(void *image)'),
  };
  const plain = {
    freeBuffer: rados.func('void rados_buffer_free(void *buffer)'),
    closePool: rados.func('void rados_ioctx_destroy(void *io)'),
    setNamespace: rados.func('void rados_ioctx_set_namespace(void *io, str name)'),
    // When full: calls that take space are refused at once, not held back until their deadline; those that give it back are done.
    failWhenFull: rados.func('void rados_set_pool_full_try(void *io)'),
    instanceId: rados.func('uint64_t rados_get_instance_id(void *cluster)'),
    createOp: rados.func('void *rados_create_write_op()'),
    releaseOp: rados.func('void rados_release_write_op(void *op)'),
    opCreate: rados.func('void rados_write_op_create(void *op, int exclusive, str category)'),
    opWrite: rados.func('void rados_write_op_write_full(void *op, const uint8_t *bytes, size_t length)'),
    createOptions: rbd.func('void rbd_image_options_create(_Out_ void **options)'),
    destroyOptions: rbd.func('void rbd_image_options_destroy(void *options)'),
    setOption: rbd.func('int rbd_image_options_set_uint64(void *options, int name, uint64_t value)'),
    cleanImages: rbd.func('void rbd_image_spec_list_cleanup(void *images, size_t count)'),
    cleanLinkedList: rbd.func('void rbd_linked_image_spec_list_cleanup(void *images, size_t count)'),
    cleanLinked: rbd.func('void rbd_linked_image_spec_cleanup(void *image)'),
    cleanSnapshotSpec: rbd.func('void rbd_snap_spec_cleanup(void *snapshot)'),
    cleanSnapshots: rbd.func('void rbd_snap_list_end(void *snapshots)'),
    cleanTrash: rbd.func('void rbd_trash_list_cleanup(void *entries, size_t count)'),
    cleanWatchers: rbd.func('void rbd_watchers_list_cleanup(void *watchers, size_t count)'),
    // In this thread, so that its callback is in this thread too: librbd calls it from the calling one where fast-diff is on.
    iterateDiff: rbd.func(
      'int rbd_diff_iterate2(void *image, str fromSnapshot, uint64_t offset, uint64_t length, uint8_t includeParent, uint8_t wholeObject, rbd_diff_callback *callback, void *argument)',
    ),
  };
  return { calls, plain, handle };
}

const inFlight = new Set<readonly unknown[]>();
/** How often each blocking call was made. */
export const callCounts: Record<string, number> = {};

/** @returns a call that runs on another thread. koffi's async calls do not keep a buffer alive by themselves: `inFlight` does. */
function blocking(
  func: ReturnType<ReturnType<typeof koffi.load>['func']>,
  prototype: string,
): (...args: unknown[]) => Promise<number> {
  const name = /(\w+)\(/.exec(prototype)?.[1] ?? prototype;
  return async (...args) => {
    callCounts[name] = (callCounts[name] ?? 0) + 1;
    inFlight.add(args);
    try {
      const result = await new Promise<number>((resolve, reject) =>
        func.async(...args, (error: Error | null, value: number | bigint) =>
          error ? reject(error) : resolve(Number(value)),
        ),
      );
      if (result < 0) throw new CephError(name, -result);
      return result;
    } finally {
      inFlight.delete(args);
    }
  };
}

interface ListCall {
  fill(array: unknown, count: [number | bigint]): Promise<number>;
  /** Default: the number that the call leaves in `count`. */
  countOf?(answer: number): number;
  /** Frees the texts of the list. */
  clean(array: unknown, count: number): void;
}

/** Asks for a list whose call fills an array of `type`, and says by ERANGE how long that must be. @returns objects with texts of their own. */
export async function listAll<Entry>(type: string, list: ListCall): Promise<Entry[]> {
  for (let length = FIRST_LENGTH; ;) {
    const array: unknown = koffi.alloc(type, length);
    const count: [number | bigint] = [length];
    try {
      const answer = await list.fill(array, count);
      const found = list.countOf?.(answer) ?? Number(count[0]);
      if (found === 0) return [];
      const entries = koffi.decode(array, koffi.array(type, found)) as Entry[];
      list.clean(array, found);
      return entries;
    } catch (error) {
      if (!(error instanceof CephError) || error.errno !== ERANGE) throw error;
      length = Math.max(length * 2, Number(count[0]));
    } finally {
      koffi.free(array);
    }
  }
}

export const decodeText = (pointer: unknown, length: number): string => koffi.decode(pointer, 'char', length) as string;
