import type { GuestReader, HashOptions } from '../../image/guest-reader';
import type { GuestWriter } from '../../image/guest-writer';
import type { Extent } from '../extents';

/** One pool, or a namespace of it, of one Ceph cluster. */
export interface RbdPool {
  pool: string;
  /** Undefined: the pool's default namespace. */
  namespace?: string;
  /** Absolute path of ceph.conf. */
  conf: string;
  /** Without `client.`. */
  user: string;
  /** Absolute path; undefined: where ceph.conf says. */
  keyring?: string;
  /** A call to the cluster that takes longer has ended in doubt. */
  operationTimeoutMs: number;
}

/** @returns Ceph's options that end what the cluster does not answer. */
export function deadlinesOf({ operationTimeoutMs }: RbdPool): Record<string, string> {
  const seconds = String(Math.max(1, Math.ceil(operationTimeoutMs / 1000)));
  return { rados_osd_op_timeout: seconds, rados_mon_op_timeout: seconds, client_mount_timeout: seconds };
}

export interface ClusterIdentity {
  fsid: string;
  /** `host:port` of each monitor, without a protocol. */
  monitors: string[];
}

/** An image by its header. Sizes are in bytes. */
export interface RbdImage {
  sizeBytes: number;
  modifiedAt: Date;
  /** Of users: those that wait in the trash for their last clone are not among them. */
  snapshots: string[];
  parent?: { pool: string; namespace: string; image: string; snapshot: string; inTrash: boolean };
  /** Values of the keys that were asked for; a clone has its parent's until they are set. */
  metadata: Record<string, string | undefined>;
}

/** A connection that has the image open for writing. */
export interface RbdWatcher {
  address: string;
  /** Whether it is this client's. */
  own: boolean;
}

/** A snapshot of an image, which may be in another pool of the cluster. */
export interface SnapshotSpec {
  /** Undefined: the pool, and its namespace, that the cluster was opened for. */
  pool?: string;
  /** With `pool`. Undefined: its default namespace. */
  namespace?: string;
  image: string;
  snapshot: string;
}

export interface ReadOptions {
  /** Undefined: the image as it is now. */
  snapshot?: string;
  /** Bytes from its start; undefined: all. */
  lengthBytes?: number;
  signal?: AbortSignal;
  /** Gets everything in order, in pieces of at most 4 MiB; it holds up those that come later. */
  consume: (bytes: Buffer) => Promise<void>;
}

/**
 * Operations of RBD that the backend needs, in steps that are each one visit to the cluster. Two implementations pass one conformance suite: `library.ts`
 * calls librbd in an agent process, `tool.ts` starts the `rbd` tool. All failures are `CephError`s; after one that is in doubt the step may have been
 * done.
 */
export interface RbdCluster {
  readonly access: 'library' | 'tool';
  identify(): Promise<ClusterIdentity>;
  /** Of the pool: the bytes that clients may still write, its quota included. */
  space(): Promise<{ totalBytes: number; freeBytes: number }>;

  /** @returns undefined when there is none. */
  readObject(name: string): Promise<Buffer | undefined>;
  /** @returns when an object was last written; undefined when there is none. */
  objectWrittenAt(name: string): Promise<Date | undefined>;
  /** @returns whether it was created; false when it is there already. */
  createObject(name: string, bytes: Buffer): Promise<boolean>;
  /** The absent is done. */
  removeObject(name: string): Promise<void>;

  /** Makes the object that lists the trash, which an image passes on its way out: a pool that is full takes no new object, and could not be emptied. */
  ensureTrash(): Promise<void>;
  listImages(): Promise<string[]>;
  /** `deletedAt`: when it was moved there. */
  listTrash(): Promise<{ id: string; name: string; deletedAt: Date }[]>;
  /** @returns undefined when there is none, also where a killed call has left its name alone. */
  describeImage(name: string, metadataKeys: readonly string[]): Promise<RbdImage | undefined>;
  /** Bytes of the image's own objects, or its snapshot's, from its object map where it has one, without a scan of its data. */
  usedBytes(name: string, snapshot?: string): Promise<number>;
  /** How many images are clones of a snapshot, in all pools and namespaces, those in the trash included. */
  countChildren(name: string, snapshot: string): Promise<number>;
  /** Its size, and the bytes of its objects. Undefined where it cannot be done in process. @returns undefined when there is none. */
  describeSnapshot?(snapshot: SnapshotSpec): Promise<{ sizeBytes: number; usedBytes: number } | undefined>;
  listWatchers(name: string): Promise<RbdWatcher[]>;

  /** How many images an image reads from, one behind the other, in whatever pools: 0 for one that is no clone. @throws CephError `absent`. */
  countAncestors(name: string): Promise<number>;

  createImage(name: string, sizeBytes: number): Promise<void>;
  /** Clones, grows and sets the metadata last: a clone without it is not complete. @throws CephError `exists`, `absent` (of the parent). */
  cloneImage(
    parent: SnapshotSpec,
    clone: { name: string; sizeBytes: number; metadata: Record<string, string> },
  ): Promise<void>;
  /** Grows an image, never shrinks it, and sets its metadata. */
  completeImage(name: string, change: { sizeBytes: number; metadata: Record<string, string> }): Promise<void>;
  /** Takes metadata off an image that anybody may have open; the absent is done. @throws CephError `absent` (of the image). */
  removeMetadata(name: string, keys: readonly string[]): Promise<void>;
  /** Bytes beyond `sizeBytes` are gone. Of an image that nobody has open. */
  shrinkImage(name: string, sizeBytes: number): Promise<void>;
  /** Of an image that nobody has open. */
  createSnapshot(name: string, snapshot: string): Promise<void>;
  /** Of an image that anybody may have open, whose client does it then; the image's metadata is set first. @throws CephError `exists`. */
  snapshotVolume(name: string, snapshot: string, metadata: Record<string, string>): Promise<void>;
  /**
   * Also where the image is open, and where it is protected, as Cinder's are; one with clones waits for the last of them, without its name. The metadata goes
   * with it. The absent is done. @throws CephError `busy` where clones of the old format need it.
   */
  removeSnapshot(name: string, snapshot: string, metadataKey?: string): Promise<void>;
  /** @throws CephError `absent`. */
  moveToTrash(name: string): Promise<void>;
  /** Whether clones need an image in the trash, whose snapshots were deleted. @throws CephError `absent`. */
  hasClones(trashId: string): Promise<boolean>;
  /** @throws CephError `exists`. */
  renameImage(from: string, to: string): Promise<void>;
  /**
   * Protects a snapshot from deletion, as clients want it that make clones of the old format; one that is protected is done. Undefined where it cannot
   * be done in process.
   */
  protectSnapshot?(name: string, snapshot: string): Promise<void>;
  /** The absent, and the unprotected, is done. @throws CephError `busy` where clones of the old format need it. */
  unprotectSnapshot?(name: string, snapshot: string): Promise<void>;
  /** Deletes an image with its snapshots; the absent is done. One that a dead client still holds goes to the trash. @throws CephError `not-empty` when it has clones. */
  removeImage(name: string): Promise<void>;
  /** Deletes what is in the trash; the absent is done. @returns whether it is gone: false while a client holds it. */
  removeFromTrash(id: string): Promise<boolean>;

  /**
   * Gives a clone objects of its own for all that it has of its parent; objects that an ended call has copied stay. It believes no object map, which says
   * of an object that it is there before it is: by one that a killed client has left, objects that were never copied are skipped, and their bytes are lost
   * with the parent. It makes the map anew at its end; an ended call leaves none. Source: librbd, FlattenRequest. @throws the signal's reason.
   */
  flatten(name: string, options: { signal?: AbortSignal; bytesPerSecond?: number }): Promise<void>;
  /** Makes all of an image read as zeros, and `sizeBytes` large; its snapshots stay. Of an image without a parent. Undefined where nothing is written in process. */
  emptyImage?(name: string, options: { sizeBytes: number; signal?: AbortSignal }): Promise<void>;
  read(name: string, options: ReadOptions): Promise<void>;
  /** Reads an image as it is now, or a snapshot, at any place. Undefined where it cannot be done in process. */
  openReader?(this: void, name: string, snapshot?: string): Promise<Omit<GuestReader, 'hash'> & { sizeBytes: number }>;
  /**
   * Parts of a snapshot that may hold data, its own or of the images that it reads from, in order and apart from each other, by whole objects. From the
   * object maps; where one does not hold, its image counts as full. Undefined where it cannot be done in process.
   */
  listExtents?(this: void, name: string, snapshot: string, range: Extent): Promise<Extent[]>;
  /** As `GuestReader.hash`. Undefined where it cannot be done in process. */
  hash?(this: void, name: string, options: HashOptions): Promise<string>;
  /** Undefined where it cannot be done in process. One failed write condemns the image, since a later flush does not tell of it. */
  openWriter?(name: string): Promise<GuestWriter>;
  /** Ends the connection, and the calls that wait for it, in doubt. A later call, of theirs too, is refused and starts nothing. */
  close(): Promise<void>;
}

/** The object that lists a pool's trash. Source: librbd, RBD_TRASH. */
export const TRASH_OBJECT = 'rbd_trash';

/** The object that gives a name its image: it is made before the name lists, and removed before that ends. Source: librbd, `id_obj_name`. */
export const idObjectOf = (image: string): string => `rbd_id.${image}`;

/** Space that a pool has: its quota counts, where it has one. */
export function usableSpace({
  storedBytes,
  availableBytes,
  quotaBytes,
}: Record<'storedBytes' | 'availableBytes' | 'quotaBytes', number>): { totalBytes: number; freeBytes: number } {
  const freeBytes = quotaBytes > 0 ? Math.max(0, Math.min(availableBytes, quotaBytes - storedBytes)) : availableBytes;
  return { totalBytes: storedBytes + freeBytes, freeBytes };
}

/** One management operation of librbd copies about so much in a second: the measure of a flatten's pace. */
const BYTES_PER_SECOND_OF_ONE_OPERATION = 40 * 1024 ** 2;
const MOST_OPERATIONS = 10;

/** @returns how many objects a flatten copies at once, so that it goes about as fast as it may. */
export function operationsAtOnce(bytesPerSecond: number | undefined): number {
  if (bytesPerSecond === undefined) return MOST_OPERATIONS;
  return Math.min(MOST_OPERATIONS, Math.max(1, Math.floor(bytesPerSecond / BYTES_PER_SECOND_OF_ONE_OPERATION)));
}

/** @returns one address of each monitor: the old protocol's where it speaks both, which every client reads without a prefix. */
export function monitorsOf(addresses: readonly { type: string; addr: string }[][]): string[] {
  return addresses.flatMap((all) => (all.find(({ type }) => type === 'v1') ?? all[0])?.addr ?? []);
}
