import { quotaUnits, type QuotaName } from './quotas';
import { quote } from './words';

/**
 * Every way in which this product fails on purpose. A new type cannot be added without deciding all of it:
 * what its details are, whether a retry may help, whom a flight's failure concerns, how the CLI exits and what the user
 * reads. A bug stays a plain error: in workflow code it holds the task until the fix is deployed.
 */

/** The details of each failure; strings are safe to show to the user who made the request. */
export interface FailureDetails {
  InvalidRequest: { field: string; value: string; allowed: string };
  Conflict: { volumeId: string; found: string };
  VolumeNotFound: { volumeId: string };
  VolumeDeleted: { volumeId: string };
  VolumeInUse: { volumeId: string; by: string };
  AttachmentNotFound: { attachmentId: string };
  /** Only a service, such as Nova, ends what a server uses; `by`: the server. */
  AttachmentInUse: { volumeId: string; by: string };
  SnapshotNotFound: { snapshotId: string };
  SnapshotConflict: { snapshotId: string; found: string };
  TransferNotFound: { transferId: string };
  MessageNotFound: { messageId: string };
  /** `snapshots`: their ids, the first of many. */
  VolumeHasSnapshots: { volumeId: string; snapshots: string };
  /** The request is not carried out in this state. */
  VolumeNotReady: { volumeId: string; state: string; allowed: string };
  /** Another run is at it. */
  VolumeBusy: { volumeId: string; workflowId: string };
  CreateCancelled: { volumeId: string };
  /** `forbidden`: it was refused (403), which says nothing about whether the image is there. */
  ImageNotFound: { imageId: string; forbidden?: true };
  /** `found`: `unknown`, or `without an image`: nothing has matched yet. */
  FollowNotFound: { follow: string; backend: string; found: 'unknown' | 'without an image' };
  /** Not configured, or not for this project. */
  VolumeTypeNotFound: { volumeType: string };
  /** No backend has what the volume type asks for. */
  NoBackendFits: { volumeType: string };
  /** `known`: the names that there are. */
  BackendNotFound: { backend: string; known: string };
  ImageNotActive: { imageId: string; status: string };
  ImageUnsupported: { imageId: string; found: string; allowed: string };
  /**
   * The bytes break a rule of the image policy. `offset`: byte offset of what was found, where one tells.
   * `bytesVerified`: they have the hash of the record, so that it is the image that breaks the rule and not what became
   * of it on its way; only then the refusal outlives its flight.
   */
  ImageRefused: {
    imageId: string;
    rule: string;
    found: string;
    allowed: string;
    offset?: number;
    bytesVerified?: true;
  };
  /** The record or the bytes are no longer those the request was admitted with. */
  ImageChanged: { imageId: string; found: string; allowed: string };
  /** Downloaded bytes do not have the hash of the record, after a clean restart. */
  TransferCorrupt: { imageId: string; found: string; allowed: string };
  /** An image that was to be filled with a volume's bytes, and was not. */
  ImageNotUploaded: { imageId: string; cause: string };
  CacheKeyCollision: { shortKey: string };
  /** With `mostBytes`: the size that its volumes may grow to together, of which `promisedBytes` are given. */
  NoSpace: {
    backend: string;
    neededBytes: number;
    freeBytes: number;
    promisedBytes?: number;
    mostBytes?: number;
  };
  /** In volumes, or in bytes; `asked` is what the request adds to `used`. */
  QuotaExceeded: {
    projectId: string;
    quota: QuotaName;
    /** Where it is that of a type. */
    volumeType?: string;
    limit: number;
    used: number;
    asked: number;
  };
  /** Several volumes are clones of the cached image or nothing. */
  NotCached: { imageId: string; backend: string; reason: string };
  CloneLimitReached: { backend: string; parent: string; limit: number };
  ParentUnusable: { backend: string; parent: string; found: string };
  BudgetSpent: { volumeId: string; budgetMs: number; last: string };
  /** A name on the backend is held by something this installation did not make. */
  ForeignObject: { backend: string; object: string };
  /** A run of this id is another installation's, as its task queue shows. */
  ForeignRun: { workflowId: string; found: string; allowed: string };
  ToolFailed: { tool: string; exit: string; stderr: string };
  ScratchFull: { host: string; neededBytes: number; freeBytes: number };
  ScratchUnavailable: { host: string; cause: string };
  /** No end of other transfers would make enough room for the image. */
  ScratchTooSmall: { host: string; neededBytes: number; capacityBytes: number };
  HostLost: { host: string };
  FlightClosing: { flight: string };
  /** The other run is not over. The step is retried: a wait would hold a slot that the other may need to end. */
  StillRunning: { workflowId: string };
  ImageServiceUnavailable: { service: string; cause: string };
  /** Keystone does not answer, or not with a token. */
  IdentityUnavailable: { service: string; cause: string };
  /** The cloud's compute service does not answer, or does not let this installation tell its servers of their volumes. */
  ComputeServiceUnavailable: { service: string; cause: string };
  /** Keystone does not take the credentials of this installation; which ones is for operators. */
  CredentialsRefused: { service: string; account: string; cause: string };
  BackendUnavailable: { backend: string; cause: string };
  DatabaseUnavailable: { cause: string };
  /**
   * The inventory refuses a statement for good: a value it cannot hold, a rule that is broken, a table that is not
   * there.
   */
  DatabaseRefused: { sqlState: string; cause: string };
  /**
   * An activity failed in a way this table does not know, and its retries are spent: a bug, kept from the user's eyes
   * but for its name.
   */
  Internal: { cause: string };
}
export type FailureType = keyof FailureDetails;

/**
 * CLI exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 image refused, 5 a service is unavailable, 130 interrupted.
 */
export type FailureExitCode = 1 | 2 | 3 | 4 | 5;

interface FailureRule<Type extends FailureType> {
  /** Whether the same call may succeed later without anybody changing anything. */
  retry: boolean;
  /**
   * When a flight fails so: `cache-key`: for every image with the same bytes. `image`: for the record of the one image
   * that the flight read; waiters for another image with the same bytes try again.
   */
  holdsFor: 'cache-key' | 'image';
  exitCode: FailureExitCode;
  publicMessage(details: FailureDetails[Type]): string;
}

export const failures: { [Type in FailureType]: FailureRule<Type> } = {
  InvalidRequest: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 2,
    publicMessage: ({ field, value, allowed }) => `${field}: got ${value}, allowed is ${allowed}`,
  },
  Conflict: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId, found }) => `volumeId: ${volumeId} is used by another request: ${found}`,
  },
  VolumeNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ volumeId }) => `volumeId: there is no volume ${volumeId}`,
  },
  VolumeDeleted: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId }) => `volumeId: ${volumeId} was deleted; an id is never used twice`,
  },
  VolumeInUse: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId, by }) => `volume ${volumeId} is in use by ${by}; detach it first`,
  },
  AttachmentNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ attachmentId }) => `attachmentId: there is no attachment ${attachmentId}`,
  },
  AttachmentInUse: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId, by }) =>
      `volume ${volumeId} is used by ${by}: detach it by the Compute API, whose service ends the attachment`,
  },
  SnapshotNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ snapshotId }) => `snapshotId: there is no snapshot ${snapshotId}`,
  },
  TransferNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ transferId }) => `transferId: there is no transfer ${transferId}`,
  },
  SnapshotConflict: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ snapshotId, found }) => `snapshotId: ${snapshotId} is used by another request: ${found}`,
  },
  VolumeHasSnapshots: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId, snapshots }) => `volume ${volumeId} has snapshots, which go first: ${snapshots}`,
  },
  VolumeNotReady: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId, state, allowed }) => `volume ${volumeId} is ${state}, allowed is ${allowed}`,
  },
  VolumeBusy: {
    retry: true,
    holdsFor: 'image',
    exitCode: 1,
    publicMessage: ({ volumeId, workflowId }) =>
      `volume ${volumeId} is being made or changed by ${workflowId}; this run waits for that`,
  },
  CreateCancelled: {
    retry: false,
    holdsFor: 'image',
    exitCode: 1,
    publicMessage: ({ volumeId }) => `the create of volume ${volumeId} was cancelled`,
  },
  ImageNotFound: {
    retry: false,
    holdsFor: 'image',
    exitCode: 3,
    publicMessage: ({ imageId }) => `imageId: there is no image ${imageId} that this project may read`,
  },
  FollowNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ follow, backend, found }) =>
      found === 'unknown'
        ? `imageId: there is no follow ${follow} on backend ${backend}`
        : `imageId: follow ${follow} on backend ${backend} has found no image that matches`,
  },
  NoBackendFits: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 2,
    publicMessage: ({ volumeType }) =>
      `volumeType: got ${quote(volumeType)}, allowed is a type that a backend fits: no valid backend was found for its extra specs`,
  },
  MessageNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ messageId }) => `messageId: there is no message ${messageId}`,
  },
  BackendNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ backend, known }) => `backend: there is no backend ${backend}; known: ${known}`,
  },
  VolumeTypeNotFound: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 3,
    publicMessage: ({ volumeType }) => `volumeType: there is no volume type ${volumeType} that this project may use`,
  },
  ImageNotActive: {
    retry: false,
    holdsFor: 'image',
    exitCode: 4,
    publicMessage: ({ imageId, status }) => `imageId: image ${imageId} is ${status}; only an active image can be used`,
  },
  ImageUnsupported: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 4,
    publicMessage: ({ imageId, found, allowed }) => `imageId: image ${imageId} is ${found}; supported is ${allowed}`,
  },
  ImageRefused: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 4,
    publicMessage: ({ imageId, rule, found, allowed, offset }) =>
      `image ${imageId} is refused by the rule "${rule}"${offset === undefined ? '' : ` at byte ${offset}`}: found ${found}, allowed is ${allowed}`,
  },
  ImageChanged: {
    retry: false,
    holdsFor: 'image',
    exitCode: 4,
    publicMessage: ({ imageId, found, allowed }) =>
      `image ${imageId} changed meanwhile: found ${found}, expected ${allowed}`,
  },
  TransferCorrupt: {
    retry: false,
    holdsFor: 'image',
    exitCode: 4,
    publicMessage: ({ imageId, found, allowed }) =>
      `image ${imageId} arrived corrupt: its bytes hash to ${found}, its record says ${allowed}`,
  },
  ImageNotUploaded: {
    retry: false,
    holdsFor: 'image',
    exitCode: 1,
    publicMessage: ({ imageId, cause }) =>
      `image ${imageId} was not uploaded: ${cause}; upload again, as another image`,
  },
  CacheKeyCollision: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ shortKey }) =>
      `two different images share the short cache key ${shortKey}; create with bypassCache`,
  },
  NoSpace: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ backend, neededBytes, freeBytes, promisedBytes, mostBytes }) =>
      mostBytes === undefined
        ? `backend ${backend} has no space: ${neededBytes} bytes needed, ${freeBytes} free`
        : `backend ${backend} cannot promise this much: ${neededBytes} bytes needed, and its volumes may already grow to ${promisedBytes} of ${mostBytes} bytes`,
  },
  QuotaExceeded: {
    retry: false,
    holdsFor: 'image',
    exitCode: 1,
    publicMessage: ({ projectId, quota, volumeType, limit, used, asked }) =>
      `project ${projectId} has a quota of ${limit} ${quotaUnits[quota]}${volumeType === undefined ? '' : ` of type ${quote(volumeType)}`}: ${used} used, ${asked} asked for`,
  },
  NotCached: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ imageId, backend, reason }) =>
      `image ${imageId} cannot be cached on backend ${backend}: ${reason}; create its volumes one by one`,
  },
  CloneLimitReached: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ backend, limit }) => `a parent on backend ${backend} has reached its limit of ${limit} clones`,
  },
  ParentUnusable: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ backend, found }) => `the cached image-volume on backend ${backend} is ${found}`,
  },
  BudgetSpent: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ volumeId, budgetMs, last }) =>
      `volume ${volumeId} was not created within ${budgetMs / 1000} s; the last failure was: ${last}`,
  },
  ForeignObject: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ backend, object }) =>
      `backend ${backend} holds ${object}, which this installation did not make; it is left alone`,
  },
  ForeignRun: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ workflowId, found, allowed }) =>
      `workflow ${workflowId} runs on task queue ${found} and belongs to another installation; the task queue of this one is ${allowed}`,
  },
  ToolFailed: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ tool, exit }) => `${tool} failed (${exit})`,
  },
  ScratchFull: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ neededBytes, freeBytes }) =>
      `the scratch of a worker host is full: ${neededBytes} bytes needed, ${freeBytes} free`,
  },
  ScratchUnavailable: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: () => `the scratch of a worker host is unavailable`,
  },
  ScratchTooSmall: {
    retry: false,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ neededBytes, capacityBytes }) =>
      `the scratch of a worker host is too small: ${neededBytes} bytes needed, it can hold ${capacityBytes} at most`,
  },
  HostLost: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: () => `the worker host that transferred the image is lost`,
  },
  FlightClosing: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: () => `the joined population has just ended; the next one starts`,
  },
  StillRunning: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ workflowId }) => `waiting for ${workflowId}, which is still running`,
  },
  ImageServiceUnavailable: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: ({ service }) => `the image service at ${service} is unavailable`,
  },
  IdentityUnavailable: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: ({ service }) => `the identity service at ${service} is unavailable`,
  },
  ComputeServiceUnavailable: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: ({ service }) => `the compute service at ${service} is unavailable`,
  },
  // Retried: no create should fail because the account's password is being changed.
  CredentialsRefused: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: ({ service }) => `the identity service at ${service} refuses the account of this installation`,
  },
  BackendUnavailable: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: ({ backend }) => `backend ${backend} is unavailable`,
  },
  DatabaseUnavailable: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 5,
    publicMessage: () => `the inventory's database is unavailable`,
  },
  DatabaseRefused: {
    retry: false,
    holdsFor: 'image',
    exitCode: 1,
    publicMessage: ({ sqlState }) =>
      `the inventory's database refused a statement; a retry does not help (SQLSTATE ${sqlState})`,
  },
  Internal: {
    retry: true,
    holdsFor: 'cache-key',
    exitCode: 1,
    publicMessage: ({ cause }) => `internal error in ${cause}`,
  },
};

/** @returns whether `value` names a failure of the table. */
export function isFailureType(value: unknown): value is FailureType {
  return typeof value === 'string' && Object.hasOwn(failures, value);
}

/** @returns the sentence a user may read; the failure's cause and stack are for operators. */
export function publicMessage<Type extends FailureType>(type: Type, details: FailureDetails[Type]): string {
  return failures[type].publicMessage(details);
}

/**
 * Raised by adapters and records, which know nothing of Temporal; `activities/application-failure.ts` turns it into an
 * `ApplicationFailure`.
 */
export class Failure<Type extends FailureType = FailureType> extends Error {
  override readonly name = 'Failure';
  constructor(
    readonly type: Type,
    readonly details: FailureDetails[Type],
    options?: ErrorOptions,
  ) {
    super(publicMessage(type, details), options);
  }

  /** Whether the same call fails again however often it is made. */
  get isFinal(): boolean {
    const type: FailureType = this.type;
    return !failures[type].retry;
  }
}

export function isFailure<Type extends FailureType>(error: unknown, type: Type): error is Failure<Type> {
  return error instanceof Failure && error.type === type;
}

/** A failure as data, as a population's verdict, a volume's row and a log line carry it. */
export interface FailureRecord {
  type: FailureType;
  message: string;
  details: Record<string, unknown>;
}

/**
 * @returns whether a flight's failure is one for every image with the same bytes. A refusal of bytes whose hash nobody
 * knows may be of what the service has for that one image: another's are asked.
 */
export function holdsForCacheKey({ type, details }: FailureRecord): boolean {
  if (type === 'ImageRefused') return details['bytesVerified'] === true;
  return failures[type].holdsFor === 'cache-key';
}

/** @returns the failure of a flight as it is told to one who asked for `imageId`, another image with the same bytes. */
export function failureOfImage({ type, message, details }: FailureRecord, imageId: string): FailureRecord {
  if (!('imageId' in details)) return { type, message, details };
  const own = { ...details, imageId };
  return { type, message: failures[type].publicMessage(own as never), details: own };
}
