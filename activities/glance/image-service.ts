import type { ByteSink } from './byte-sink';
import type { ProjectId } from '../../workflows/contract/ids';
import type { Image, ImageStatus } from '../../workflows/contract/image';

/** Which images a list answers, and from where: the newest first, hidden ones never. A field that is left out is not checked. */
export interface ListImagesQuery {
  /** Images a page, at most what the service allows. */
  limit?: number;
  /** Id of the last image of the page before. */
  marker?: string;
  name?: string;
  status?: ImageStatus;
  owner?: string;
  visibility?: string;
  /** An image must have all of them. */
  tags?: readonly string[];
  /** Every one must have this value. */
  properties?: Readonly<Record<string, string>>;
}

export interface ImagePage {
  images: Image[];
  /** `marker` of the next page; undefined on the last one. */
  nextMarker?: string;
}

/** A project that a shared image is shared with. */
export interface ImageMember {
  projectId: ProjectId;
  status: 'pending' | 'accepted' | 'rejected';
}

export interface DownloadRequest {
  imageId: string;
  /** First byte wanted; the body may start earlier, see `Download.startsAtBytes`. */
  offsetBytes: number;
  /** The size in the image's record. */
  expectedBytes: number;
  signal?: AbortSignal;
}

/** An open body. It must be read to its end, or its iterator returned, to give the connection back. */
export interface Download {
  /** Offset in the image of the body's first byte: the one asked for, or 0 when the service does not know ranges. */
  startsAtBytes: number;
  /** Bytes that the service says it sends from there; undefined when it does not say. A claim, never a proof: count. */
  lengthBytes?: number;
  body: AsyncIterable<Buffer>;
}

export interface CreateImageRequest {
  id?: string;
  name?: string;
  /** An administrator's to say. Default: the caller's project. */
  owner?: string;
  diskFormat: string;
  containerFormat: string;
  minDiskGiB?: number;
  minRamMiB?: number;
  visibility?: string;
  /** Whether nobody may delete it. Default: false. */
  isProtected?: boolean;
  tags?: string[];
  properties?: Record<string, string>;
}

export interface UploadImageRequest {
  imageId: string;
  body: AsyncIterable<Buffer>;
  /** Sent as Content-Length; without it the body is chunked. */
  sizeBytes?: number;
  signal?: AbortSignal;
}

/** Where the bytes of a queued image lie in one of the service's own stores, and the hash that they have. */
export interface NewLocation {
  imageId: string;
  /** An operator's matter: never show it. */
  url: string;
  /** As the service names it. */
  hashAlgorithm: string;
  /** Hex. */
  hashValue: string;
  signal: AbortSignal;
}

/**
 * `unreadable`: the service could not open what lies there. `refused`: it takes no locations, or not from our account, or not of an image in this state,
 * or wants another hash.
 */
export type AddedLocation = 'added' | 'unreadable' | 'refused';

/**
 * An OpenStack Image API v2 as this product uses it. Failures, all by `Failure`: `ImageNotFound` (no such image, or not this
 * project's to read), `ImageNotActive` (no bytes to be had), `ImageChanged`, `InvalidRequest` (the service refuses the values): final;
 * `ImageServiceUnavailable`: everything passing, retried. A caller's own abort is thrown as its signal's reason.
 */
export interface ImageService {
  /** Where it is, without credentials: for messages. */
  readonly endpoint: string;

  /** One request: on the hot path of every create. */
  getImage(imageId: string, signal?: AbortSignal): Promise<Image>;
  /**
   * Where the service keeps the image's bytes, as URLs of its stores, for what can clone them there. They are an operator's matter: never show them.
   * @returns none where the service does not say, as is its default.
   */
  listLocations(imageId: string, signal?: AbortSignal): Promise<string[]>;
  /**
   * Fills a queued image by a place where its bytes lie already; waits until the service has read them, where it does. An earlier call of the same that was answered
   * or is at work is `added` too.
   * @throws ImageNotFound. Undo: `deleteImage`, which deletes what lies there.
   */
  addLocation(location: NewLocation): Promise<AddedLocation>;
  /** Of a shared image; any other has none. @throws ImageNotFound where it is not shared any more, or our account may not read them. */
  listMembers(imageId: string, signal?: AbortSignal): Promise<ImageMember[]>;
  listImages(query?: ListImagesQuery, signal?: AbortSignal): Promise<ImagePage>;

  /** @throws ImageNotActive (queued, deactivated, or its file vanished), ImageChanged (`offsetBytes` is past the end of what is there). */
  openDownload(request: DownloadRequest): Promise<Download>;

  /**
   * Puts the image's bytes from `offsetBytes` on into `sink`, where the service answers with exactly these and in the plainest way; the fast road for large bodies.
   * @returns false when it does not, and nothing was used: take `openDownload`. @throws as that, with what came before in the sink.
   */
  downloadInto?(request: DownloadRequest, sink: ByteSink): Promise<boolean>;

  /** Makes a queued record. Undo: `deleteImage`. */
  createImage(request: CreateImageRequest): Promise<Image>;

  /** Fills a queued record once: a second upload is `InvalidRequest`. A cut upload leaves it queued. Undo: `deleteImage`. */
  uploadImage(request: UploadImageRequest): Promise<void>;

  /** @throws InvalidRequest where clones need what it has in its store; a store that may not look for them has the service answer 500, which is retried. */
  deleteImage(imageId: string): Promise<void>;

  /** Says who may use it. Idempotent. */
  setVisibility(imageId: string, visibility: string): Promise<void>;
  /** Whether nobody may delete it. Idempotent. */
  setProtected(imageId: string, isProtected: boolean): Promise<void>;
  /** Of a shared image. One that is there is done. */
  addMember(imageId: string, projectId: string): Promise<void>;
  /** Of a shared image. The absent is done. */
  removeMember(imageId: string, projectId: string): Promise<void>;

  /** Idempotent, as are the three below. */
  deactivate(imageId: string): Promise<void>;
  reactivate(imageId: string): Promise<void>;
  addTag(imageId: string, tag: string): Promise<void>;

  /** Closes the connections; running downloads end first. */
  close(): Promise<void>;
}
