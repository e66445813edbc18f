import type { BackendName, ImageId, InstallationId, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { Connection } from '../../workflows/contract/volume';
import type { GuestReader } from '../image/guest-reader';
import type { GuestWriter } from '../image/guest-writer';

/** What a backend can do; the planner decides by these, never by the driver's name. */
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

/** What the inventory says of a backend's place, which is asked before a place is believed to be it. */
export interface KnownPlace {
  /** Of the place that was claimed; undefined: none was, or by a version that gave it no id. */
  id: string | undefined;
  /** An operator has said that the place with this id is lost for good: a new one may take its part, whatever the inventory holds. */
  lostId?: string;
  /** What must lie there, in words for people; undefined: nothing, so that any empty place will do. */
  describeHoldings(): Promise<string | undefined>;
}

export const NOTHING_KNOWN: KnownPlace = {
  id: undefined,
  describeHoldings: async () => await Promise.resolve(undefined),
};

/** Written beside everything that is made on a backend, so that rows can be made again from what the disk holds. */
export type Marker = ImageVolumeMarker | VolumeMarker;
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
  cacheKey: CacheKey;
}

/** The place that a writer (`qemu-img convert -n`, a raw stream) fills before it becomes visible. Guest format is always raw. */
export interface WriteTarget {
  /** For the published name and the attempt; opaque to the caller. */
  attempt: string;
  /** What `qemu-img convert` takes as its destination, with `-n --target-is-zero`. */
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

export type CloneOfStored =
  /** `verify`: its bytes are to be read and compared with the hash in the image's record before anything is made of them. */
  | { kind: 'cloned'; target: WriteTarget; verify: boolean }
  /** `reason`: for people, the end of a sentence; it tells nothing of where the image is. */
  | { kind: 'elsewhere'; reason: string };

export type ParentDescription =
  | { kind: 'sealed'; virtualBytes: number; realBytes: number }
  | { kind: 'absent' }
  | { kind: 'unsealed' }
  | { kind: 'changed'; found: string };

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

export interface FlattenOptions {
  /** So that guests do not feel it; undefined: as fast as it goes. */
  bytesPerSecond?: number;
  /** Called with the share that is done, from 0 to 1. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
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

/** One object that is found on the backend; `marker` is undefined for what is half-written or foreign. */
export interface BackendObject {
  kind: 'image-volume' | 'volume' | 'partial' | 'foreign';
  name: string;
  realBytes: number;
  modifiedAt: Date;
  marker?: Marker;
  /** Set for a partial: what `ensureAttemptAbsent` takes to remove it. */
  partial?: { kind: 'image-volume' | 'volume'; name: string; attempt: string };
  /** A partial with the name of the object itself: whether it is half-made, or all that is left of one that was whole, only the row tells. */
  hasObjectName?: true;
}

/**
 * One named place where volumes live and within which a clone is possible.
 * What changes the world is `ensure…` and idempotent. Failures, all by `Failure`: `NoSpace` (final), `CloneLimitReached`,
 * `ParentUnusable` (final here, the workflow populates again), `ForeignObject` (final), `VolumeInUse` (final),
 * `InvalidRequest` for a size or name that does not fit, `BackendUnavailable` (retried) for everything passing.
 */
export interface VolumeBackend {
  readonly name: BackendName;
  readonly driver: string;
  readonly capabilities: BackendCapabilities;
  /** Id of the place, from its marker: what the inventory expects from now on. */
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

  /** Opens what an attempt has made, to read it. @throws BackendUnavailable; so do the reader's own calls. */
  openReader?(attempt: { kind: 'image-volume' | 'volume'; name: string; attempt: string }): Promise<GuestReader>;

  /** @returns the first bytes that an attempt has written. Drivers whose targets have a `path` leave it out. @throws BackendUnavailable. */
  readTarget?(
    attempt: { kind: 'image-volume' | 'volume'; name: string; attempt: string },
    lengthBytes: number,
  ): Promise<Buffer>;

  /** Removes what one attempt wrote; the absent is done. */
  ensureAttemptAbsent(request: { kind: 'image-volume' | 'volume'; name: string; attempt: string }): Promise<void>;

  describeParent(name: string): Promise<ParentDescription>;

  /**
   * Bytes that the deletion of an image-volume would give back; 0 when it is absent. Cheap: asked of hundreds at a time. Where clones share blocks and
   * the driver cannot tell which, it is the most that may come back. Drivers that know nothing leave it out: what was measured at the seal is used.
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
   * Makes `marker.volumeId` exist as a clone of the sealed `parent`, grown to `marker.sizeBytes`, durable; a second call with the same
   * arguments changes nothing and answers the same. Undo: `ensureVolumeAbsent`.
   * An existing volume is never replaced: one that is a clone of another parent, such as one since quarantined, must be made absent first.
   * @throws ParentUnusable, CloneLimitReached, NoSpace, InvalidRequest (`sizeBytes` below the parent's or no multiple of 512), ForeignObject,
   *   Conflict (the id is a volume with another marker or parent) (final); BackendUnavailable (retried).
   */
  ensureClone(parent: string, marker: VolumeMarker): Promise<Connection>;

  /**
   * Makes a volume independent of its parent, with the same bytes and the same `connection`; one that needs no parent is done. It stays as it is
   * whenever this fails or is killed. Drivers whose clones never need their parent leave it out.
   * @throws VolumeInUse, NoSpace (final); ToolFailed, BackendUnavailable (retried); the signal's reason when aborted.
   */
  ensureFlattened?(volumeId: VolumeId, options: FlattenOptions): Promise<'flattened' | 'independent' | 'absent'>;

  describeVolume(volumeId: VolumeId): Promise<VolumeDescription>;

  /** @returns who has the volume open, as a phrase for people (`a QEMU process`), or undefined when nobody is seen. */
  findOpener(volumeId: VolumeId): Promise<string | undefined>;

  /** Deletes a volume, its marker and its attempts; the absent is done. @throws BackendUnavailable. */
  ensureVolumeAbsent(volumeId: VolumeId): Promise<void>;

  /** Deletes an image-volume, its marker and its attempts; the absent is done. @throws BackendUnavailable; ParentUnusable when clones still need it and the driver can tell. */
  ensureImageVolumeAbsent(name: string): Promise<void>;

  /** Everything in the backend's place, foreign objects included. */
  list(): AsyncIterable<BackendObject>;
}
