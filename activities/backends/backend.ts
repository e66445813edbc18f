import type {
  BackendName,
  ContentId,
  ImageId,
  InstallationId,
  ProjectId,
  SnapshotId,
  VolumeId,
} from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { Connection } from '../../workflows/contract/volume';
import type { GuestReader } from '../image/guest-reader';
import type { Extent } from './extents';
import type { GuestWriter } from '../image/guest-writer';

/** Abilities of a backend; the planner decides by these, never by the driver's name. */
export interface BackendCapabilities {
  /** `instant`: a clone takes milliseconds whatever its size, in this process. `full`: it copies every byte. */
  clone: 'instant' | 'full';
  /** Whether a parent must stay on the backend, retired, while a clone of it lives. */
  clonesPinParent: boolean;
  /** Clones a parent may have; undefined: no limit. */
  cloneLimit?: number;
  /** How a clone is made here, for decision records: `reflink`, `qcow2 overlay`, … */
  cloneMethod: string;
  /** Why the fastest method of this driver is not used; undefined when it is. */
  cloneMethodReason?: string;
  /** The image service's store from which images are cloned, and why they cannot be; absent where the backend does not try. */
  imageStore?: { name: string; reason?: string };
}

export interface BackendSpace {
  totalBytes: number;
  freeBytes: number;
}

/** The inventory's record of a backend's place; it is read before a place is believed to be that one. */
export interface KnownPlace {
  /** Of the place that was claimed; undefined: none was, or by a version that gave it no id. */
  id: string | undefined;
  /** An operator has said that the place with this id is lost for good: a new one may take its part, whatever the inventory holds. */
  lostId?: string;
  /** Objects that must lie there, in words for people; undefined: none, so that any empty place will do. */
  describeHoldings(): Promise<string | undefined>;
}

export const NOTHING_KNOWN: KnownPlace = {
  id: undefined,
  describeHoldings: async () => await Promise.resolve(undefined),
};

/** Written beside everything that is made on a backend, so that rows can be made again from what the disk holds. */
export type Marker = ImageVolumeMarker | VolumeMarker | SnapshotMarker;
export interface ImageVolumeMarker {
  kind: 'image-volume';
  installation: InstallationId;
  /** Name on the backend. */
  name: string;
  cacheKey: CacheKey;
  generation: number;
  virtualBytes: number;
}
export interface VolumeMarker {
  kind: 'volume';
  installation: InstallationId;
  volumeId: VolumeId;
  projectId: ProjectId;
  name: string | null;
  sizeBytes: number;
  /** Of the image that its bytes are a clone of; absent where they are of none, or of another volume. */
  cacheKey?: CacheKey;
  /** Of the bytes, where they have taken the place of others: see `ensureReplaced`. */
  content?: ContentId;
}

export interface SnapshotMarker {
  kind: 'snapshot';
  installation: InstallationId;
  snapshotId: SnapshotId;
  /** The volume that it was taken of. */
  volumeId: VolumeId;
  projectId: ProjectId;
  name: string | null;
  /** Of the volume. */
  sizeBytes: number;
  /** Of one that has no row: nobody needs it any more when this run, and those that go on with its work, have closed. */
  run?: { workflowId: string; runId: string };
}

/** A snapshot lies with its volume on some backends, so that both are named. */
export interface SnapshotRef {
  snapshotId: SnapshotId;
  volumeId: VolumeId;
}

export type SnapshotDescription =
  | {
      kind: 'present';
      /** Size that a guest would see. */
      sizeBytes: number;
      /** The most that its deletion would give back. */
      realBytes: number;
      marker: SnapshotMarker;
      /** The image-volume that it cannot be read without; absent where it needs none. */
      parent?: string;
    }
  | { kind: 'absent' };

/** Object of another service under the name that a volume has here. */
export type ForeignVolume =
  | {
      kind: 'present';
      /** For people: where it lies. */
      name: string;
      sizeBytes: number;
      modifiedAt: Date;
      /** Of its own, where it has been taken over. */
      marker?: VolumeMarker;
      /** That have names of volumes' snapshots. */
      snapshots: SnapshotId[];
    }
  | { kind: 'absent'; name: string };

/** Reads what a guest would see of a snapshot. Several calls may run at once. */
export interface SnapshotReader {
  readonly sizeBytes: number;
  /** Parts that may hold data, in order and apart from each other; the gaps read as zeros. Without a read of data. */
  extents(): AsyncIterable<Extent>;
  /** @returns fewer bytes than asked for only at the end. @throws BackendUnavailable. */
  read(offset: number, lengthBytes: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** Of work that copies all bytes on some backends. */
export interface CopyOptions {
  /** Called with the share that is done, from 0 to 1. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

/** The place that a writer (`qemu-img convert -n`, a raw stream) fills before it becomes visible. Guest format is always raw. */
export interface WriteTarget {
  /** For the published name and the attempt; opaque to the caller. */
  attempt: string;
  /** Destination for `qemu-img convert`, with `-n --target-is-zero`. */
  qemuTarget: string;
  virtualBytes: number;
  /** Set where the target is a local sparse file that can be written and read directly. */
  path?: string;
}

/** An image whose bytes are what the guest sees, and where the image service says that it keeps them. */
export interface StoredImage {
  /** Of the image-volume. */
  name: string;
  attempt: string;
  imageId: ImageId;
  /** In the image's record. */
  sizeBytes: number;
  locations: readonly string[];
}

/** An image whose bytes are the first `sizeBytes` of a volume of ours. */
export interface StoredInVolume extends Pick<StoredImage, 'name' | 'attempt' | 'sizeBytes'> {
  snapshot: SnapshotRef;
}

export type CloneOfStored =
  /** `verify`: its bytes are to be read and compared with the hash in the image's record before anything is made of them. */
  | { kind: 'cloned'; target: WriteTarget; verify: boolean }
  /** `reason`: for people, the end of a sentence; it tells nothing of where the image is. */
  | { kind: 'elsewhere'; reason: string };

/** An image of the image service's own store that is to have a snapshot's bytes. */
export interface ImagePointer extends SnapshotRef {
  imageId: ImageId;
  /** Of the volume. */
  projectId: ProjectId;
}

export type MadePointer =
  /** `location`: as the image service names it; an operator's matter. `independent`: it reads from no volume. */
  | { kind: 'made'; location: string; independent: boolean }
  /** `reason`: for people, the end of a sentence; it tells nothing of where anything is. */
  | { kind: 'impossible'; reason: string };

export interface PointerOptions extends FlattenOptions {
  /** Whether it is to have bytes of its own. Default: only where it would read from too many images, one behind the other. */
  independent?: boolean;
}

export type PointerDescription =
  | {
      kind: 'present';
      /** Whether it still reads from the volume that it was made of, and whether that was deleted. */
      source: 'present' | 'deleted' | 'none';
      /** Whether it has all that the image service reads it by: its deletion takes that away first. */
      isWhole: boolean;
      /** Of its own. */
      usedBytes: number;
    }
  | { kind: 'absent' };

export type ParentDescription =
  | { kind: 'sealed'; virtualBytes: number; realBytes: number }
  | { kind: 'absent' }
  | { kind: 'unsealed' }
  | { kind: 'changed'; found: string };

export type GrownVolume =
  /** `openedBy`: as `findOpener` tells it. */
  { kind: 'present'; formerSizeBytes: number; sizeBytes: number; openedBy: string | undefined } | { kind: 'absent' };

export type VolumeDescription =
  | {
      kind: 'present';
      sizeBytes: number;
      realBytes: number;
      /** When it was last written. */
      modifiedAt: Date;
      connection: Connection;
      marker: VolumeMarker | undefined;
      /** The image-volume that it cannot be read without; absent where it needs none. */
      parent?: string;
    }
  | { kind: 'absent' };

/** The bytes that a volume is to have: those of a sealed image-volume, or what an attempt at the volume has written. */
export type NewBytes = { parent: string; target?: undefined } | { parent?: undefined; target: WriteTarget };

export type VolumeReplacement = NewBytes & {
  marker: VolumeMarker & { content: ContentId };
  /** Null: the bytes that the volume was made with. */
  former: ContentId | null;
};

export interface FlattenOptions extends CopyOptions {
  /** So that guests do not feel it; undefined: as fast as it goes. */
  bytesPerSecond?: number;
}

export interface DigestOptions {
  /** Of data; holes cost no pace. */
  bytesPerSecond: number;
  signal: AbortSignal;
  onProgress: (bytesDone: number, bytesTotal: number) => void;
}

export interface ParentDigest {
  algorithm: 'sha256';
  /** Hex. */
  digest: string;
  bytes: number;
}

export type ObjectKind = 'image-volume' | 'volume' | 'snapshot';

/** One object that is found on the backend; `marker` is undefined for what is half-written or foreign. */
export interface BackendObject {
  kind: 'image-volume' | 'volume' | 'snapshot' | 'partial' | 'foreign';
  name: string;
  realBytes: number;
  modifiedAt: Date;
  marker?: Marker;
  /** Set for a partial: the request of `ensureAttemptAbsent` that removes it. */
  partial?: { kind: ObjectKind; name: string; attempt: string };
  /** A partial with the name of the object itself: whether it is half-made, or all that is left of one that was whole, only the row tells. */
  hasObjectName?: true;
}

/**
 * One named place where volumes live and within which a clone is possible.
 * Methods that change the world are `ensure…` and idempotent. Failures, all by `Failure`: `NoSpace` (final), `CloneLimitReached`,
 * `ParentUnusable` (final here, the workflow populates again), `ForeignObject` (final), `VolumeInUse` (final),
 * `InvalidRequest` for a size or name that does not fit, `BackendUnavailable` (retried) for everything passing.
 */
export interface VolumeBackend {
  readonly name: BackendName;
  readonly driver: string;
  readonly capabilities: BackendCapabilities;
  /** Id of the place, from its marker: the inventory expects it from now on. */
  readonly placeId: string;

  space(): Promise<BackendSpace>;

  /**
   * Makes an empty, zero-reading raw target of `virtualBytes` for one attempt at image-volume or volume `name`.
   * A target of the same attempt is emptied and made again; other attempts are left alone.
   * @throws NoSpace, InvalidRequest (size), BackendUnavailable.  Undo: `ensureAttemptAbsent`.
   */
  ensureWriteTarget(request: {
    kind: 'image-volume' | 'volume';
    name: string;
    attempt: string;
    virtualBytes: number;
  }): Promise<WriteTarget>;

  /**
   * Renames what attempt `from` has written to attempt `to`, so that a new writer goes on where a dead one ended: `path` is as long as it was left.
   * Only for a writer that is known to be gone. Drivers whose targets have no `path` leave it out.
   * @returns undefined when `from` has left nothing.  @throws BackendUnavailable.  Undo: `ensureAttemptAbsent`.
   */
  takeOverAttempt?(request: {
    kind: 'image-volume' | 'volume';
    name: string;
    from: string;
    to: string;
    virtualBytes: number;
  }): Promise<WriteTarget | undefined>;

  /**
   * Durable before visible: fsyncs what the attempt wrote, makes it read-only, writes the marker and gives it its name.
   * Call it only after the writer was reaped in this process. When the name is sealed already, this attempt is removed and the sealed one described.
   * Other attempts at the same name are removed.
   * @throws NoSpace, BackendUnavailable.  Undo: `ensureImageVolumeAbsent`.
   */
  sealImageVolume(target: WriteTarget, marker: ImageVolumeMarker): Promise<{ virtualBytes: number; realBytes: number }>;

  /** As `sealImageVolume`, for a user's volume that was written directly (no parent): grown to `marker.sizeBytes`, writable. Undo: `ensureVolumeAbsent`. */
  publishVolume(target: WriteTarget, marker: VolumeMarker): Promise<Connection>;

  /**
   * Opens what `ensureWriteTarget` has made for this process to write. Drivers whose targets have a `path` leave it out.
   * @throws BackendUnavailable; so do the writer's own calls.
   */
  openWriter?(attempt: { kind: 'image-volume' | 'volume'; name: string; attempt: string }): Promise<GuestWriter>;

  /**
   * Makes an attempt at an image-volume as a clone of the image itself, where the image service keeps that in the backend's own cluster. Drivers whose
   * volumes lie in no such place leave it out; with it goes `openReader`.
   * @throws NoSpace, InvalidRequest (size), BackendUnavailable.  Undo: `ensureAttemptAbsent`.
   */
  cloneStoredImage?(image: StoredImage): Promise<CloneOfStored>;

  /**
   * Makes an attempt at an image-volume as a clone of the beginning of a snapshot of one of its volumes, which may be deleted afterwards. Drivers
   * whose clones would not outlive it leave it out.
   * @throws SnapshotNotFound, NoSpace, InvalidRequest (size), BackendUnavailable.  Undo: `ensureAttemptAbsent`.
   */
  cloneStoredVolume?(image: StoredInVolume): Promise<WriteTarget>;

  /** Opens what an attempt has made, to read it. @throws BackendUnavailable; so do the reader's own calls. */
  openReader?(attempt: { kind: 'image-volume' | 'volume'; name: string; attempt: string }): Promise<GuestReader>;

  /** @returns the first bytes that an attempt has written. Drivers whose targets have a `path` leave it out. @throws BackendUnavailable. */
  readTarget?(
    attempt: { kind: 'image-volume' | 'volume'; name: string; attempt: string },
    lengthBytes: number,
  ): Promise<Buffer>;

  /** Removes what one attempt wrote; the absent is done. */
  ensureAttemptAbsent(request: { kind: ObjectKind; name: string; attempt: string }): Promise<void>;

  describeParent(name: string): Promise<ParentDescription>;

  /**
   * Bytes that the deletion of an image-volume would give back; 0 when it is absent. Cheap: asked of hundreds at a time. Where clones share blocks and
   * the driver cannot tell which, it is the most that may come back. Drivers that know nothing leave it out: the bytes measured at the seal are used.
   * @throws BackendUnavailable.
   */
  reclaimableBytes?(name: string): Promise<number>;

  /**
   * Hash of a sealed parent's guest-visible bytes, read at the given pace in bounded memory; undefined when it is absent. Drivers that cannot read
   * their parents leave it out: these are never scrubbed.
   * @throws ParentUnusable when it is there and not sealed; BackendUnavailable; the signal's reason when aborted.
   */
  digestParent?(name: string, options: DigestOptions): Promise<ParentDigest | undefined>;

  /**
   * Gives an image-volume that was cloned from the image service's store bytes of its own, so that the image may be deleted there; its clones are not
   * disturbed. It stays as it is whenever this fails or is killed. Drivers without `cloneStoredImage` leave it out.
   * @throws NoSpace (final); BackendUnavailable (retried); the signal's reason when aborted.
   */
  ensureParentIndependent?(name: string, options: FlattenOptions): Promise<'flattened' | 'independent' | 'absent'>;

  /**
   * Makes a snapshot's bytes an image of the image service's own store, by a clone, where that is in the backend's own cluster: the image service is still
   * to be told of its location. Idempotent. The snapshot may be deleted afterwards. Drivers whose volumes lie in no such place leave it out, and the three
   * below with it.
   * @throws SnapshotNotFound, NoSpace (final); BackendUnavailable (retried); the signal's reason when aborted.  Undo: `ensureImagePointerAbsent`.
   */
  ensureImagePointer?(pointer: ImagePointer, options?: PointerOptions): Promise<MadePointer>;

  describeImagePointer?(imageId: ImageId): Promise<PointerDescription>;

  /** Gives it bytes of its own. Its clones are not disturbed; it stays as it is whenever this fails. @throws NoSpace; BackendUnavailable; the signal's reason. */
  ensureImagePointerIndependent?(
    imageId: ImageId,
    options: FlattenOptions,
  ): Promise<'flattened' | 'independent' | 'absent'>;

  /** Deletes it, whatever the image service says: ask that first. @returns `needed` where it stays since clones need it. @throws BackendUnavailable. */
  ensureImagePointerAbsent?(pointer: Omit<ImagePointer, 'projectId'>): Promise<'absent' | 'needed'>;

  /**
   * Makes `marker.volumeId` exist as a clone of the sealed `parent`, grown to `marker.sizeBytes`, durable; a second call with the same
   * arguments changes nothing and answers the same. Undo: `ensureVolumeAbsent`.
   * An existing volume is never replaced: one that is a clone of another parent, such as one since quarantined, must be made absent first.
   * @throws ParentUnusable, CloneLimitReached, NoSpace, InvalidRequest (`sizeBytes` below the parent's or no multiple of 512), ForeignObject,
   *   Conflict (the id is a volume with another marker or parent) (final); BackendUnavailable (retried).
   */
  ensureClone(parent: string, marker: VolumeMarker): Promise<Connection>;

  /**
   * Gives a volume that is there other bytes: those of the sealed `parent`, or what `target` has (call it only after its writer was reaped in this
   * process), then zeros up to `marker.sizeBytes`, durable; nothing of the old ones can be read any more. The bytes are told by `marker.content`: where
   * the volume has those already, it keeps what it has, and a killed call is finished. A call that describes it meanwhile finds the old bytes, the new
   * ones, or for a moment none where the driver needs two steps. The caller keeps others from it.
   * @param former the `content` of the bytes that are to go: others, which somebody has put there meanwhile, stay.
   * @throws VolumeNotFound, VolumeInUse, VolumeHasSnapshots where they cannot be without the old bytes (see `ensureRewritten`), Conflict (other bytes are there), ParentUnusable,
   *   CloneLimitReached, NoSpace, InvalidRequest (`sizeBytes`), ForeignObject (final); ToolFailed, BackendUnavailable (retried).
   */
  ensureReplaced(replacement: VolumeReplacement): Promise<Connection>;

  /**
   * The same in place, for a volume whose snapshots lie in it: these stay as they are. A reader meanwhile, or after a kill, finds bytes of neither;
   * a repeated call begins again, unless it has the new ones already. It waits until nobody has the volume open. Drivers whose snapshots lie apart leave it out.
   * @throws VolumeNotFound, Conflict, ParentUnusable, NoSpace, InvalidRequest (`sizeBytes`), ForeignObject (final); BackendUnavailable (retried); the signal's
   *   reason when aborted.
   */
  ensureRewritten?(replacement: VolumeReplacement, options?: CopyOptions): Promise<void>;

  /**
   * Ends a replacement whose caller does nothing more for it: one that had begun to take place is finished, of any other nothing stays. Idempotent.
   * @returns how to attach the volume where it has the new bytes. @throws BackendUnavailable (retried).
   */
  settleReplaced(volumeId: VolumeId, content: ContentId): Promise<Connection | undefined>;

  /**
   * Makes a volume independent of its parent, with the same bytes and the same `connection`; one that needs no parent is done. It stays as it is
   * whenever this fails or is killed. Drivers whose clones never need their parent leave it out.
   * @throws VolumeInUse, NoSpace (final); ToolFailed, BackendUnavailable (retried); the signal's reason when aborted.
   */
  ensureFlattened?(volumeId: VolumeId, options: FlattenOptions): Promise<'flattened' | 'independent' | 'absent'>;

  /**
   * Makes a volume at least `sizeBytes` large, durable; the new part reads as zeros. It never shrinks: one that is so large already stays as it is.
   * One that somebody has open grows too where the driver can do that; its guest has the new size once it has looked for it.
   * Nobody else may grow the same volume at the same moment.
   * @throws VolumeInUse where it cannot grow while it is open, NoSpace, InvalidRequest (size) (final); ToolFailed, BackendUnavailable (retried).
   */
  ensureGrown(volumeId: VolumeId, sizeBytes: number): Promise<GrownVolume>;

  describeVolume(volumeId: VolumeId): Promise<VolumeDescription>;

  /** @returns who has the volume open, as a phrase for people (`a QEMU process`), or undefined when nobody is seen. */
  findOpener(volumeId: VolumeId): Promise<string | undefined>;

  /**
   * Makes a snapshot of a volume as it is at one moment during the call: all earlier writes are in it, durable. Nobody who has the volume open is
   * disturbed; where the driver cannot take it then, it is refused. A second call with the same marker changes nothing. Undo: `ensureSnapshotAbsent`.
   * @throws VolumeNotFound, VolumeInUse, NoSpace, ForeignObject, SnapshotConflict (the id is a snapshot with another marker) (final); ToolFailed,
   *   BackendUnavailable (retried); the signal's reason when aborted.
   */
  ensureSnapshot(marker: SnapshotMarker, options?: CopyOptions): Promise<SnapshotDescription & { kind: 'present' }>;

  describeSnapshot(snapshot: SnapshotRef): Promise<SnapshotDescription>;

  /** Drivers that cannot read their snapshots in process leave it out. @throws SnapshotNotFound (final); BackendUnavailable. */
  openSnapshotReader?(snapshot: SnapshotRef): Promise<SnapshotReader>;

  /**
   * Makes `marker.volumeId` exist with a snapshot's bytes, grown to `marker.sizeBytes`, durable; a second call with the same arguments changes nothing,
   * and goes on where a killed one has ended. The snapshot may be deleted afterwards. Undo: `ensureVolumeAbsent`.
   * @throws SnapshotNotFound, NoSpace, InvalidRequest (`sizeBytes` below the snapshot's or no multiple of 512), ForeignObject, Conflict (final);
   *   ToolFailed, BackendUnavailable (retried); the signal's reason when aborted.
   */
  cloneSnapshot(clone: { snapshot: SnapshotRef; marker: VolumeMarker }, options?: CopyOptions): Promise<Connection>;

  /** Deletes a snapshot and its attempts; volumes that were made of it stay as they are. The absent is done. @throws ForeignObject (final); BackendUnavailable. */
  ensureSnapshotAbsent(snapshot: SnapshotRef): Promise<void>;

  /**
   * Deletes a volume, its marker and its attempts; the absent is done.
   * @throws VolumeHasSnapshots where its snapshots cannot be without it (final); BackendUnavailable.
   */
  ensureVolumeAbsent(volumeId: VolumeId): Promise<void>;

  /** Deletes an image-volume, its marker and its attempts; the absent is done. @throws BackendUnavailable; ParentUnusable when clones still need it and the driver can tell. */
  ensureImageVolumeAbsent(name: string): Promise<void>;

  /**
   * Tells of a volume that another service has made here, and calls as this backend calls its own. Drivers for which no other service makes any leave it out,
   * and the two below with it. @throws BackendUnavailable.
   */
  describeForeign?(volumeId: VolumeId): Promise<ForeignVolume>;

  /**
   * Makes such a volume and its snapshots this installation's where they lie: neither their bytes nor their names change, and whoever has them open goes on.
   * A second call changes nothing. Undo: `ensureGivenBack`. @returns also when its bytes were last written.
   * @throws VolumeNotFound, Conflict (of another size, or taken over as another), ForeignObject (final); BackendUnavailable (retried).
   */
  ensureTakenOver?(taken: {
    marker: VolumeMarker;
    snapshots: readonly SnapshotMarker[];
  }): Promise<{ connection: Connection; modifiedAt: Date }>;

  /** Leaves it as it was before it was taken over, but for what was written since. The absent is done. @throws ForeignObject (final); BackendUnavailable. */
  ensureGivenBack?(given: { volumeId: VolumeId; snapshotIds: readonly SnapshotId[] }): Promise<void>;

  /** Everything in the backend's place, foreign objects included. */
  list(): AsyncIterable<BackendObject>;
}
