import { ImageVolumeCacheError, type ErrorType } from '../client/errors';
import { GiB } from '../workflows/contract/bytes';
import type { FailureDetails } from '../workflows/contract/failures';

/** An answer of the block-storage API that is no success. The message is for the caller. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly status: number,
    message: string,
    options?: ErrorOptions & { headers?: Record<string, string> },
  ) {
    super(message, options);
    this.headers = options?.headers ?? {};
  }
  readonly headers: Record<string, string>;
}

export const badRequest = (message: string): ApiError => new ApiError(400, message);
export const notFound = (message: string): ApiError => new ApiError(404, message);
export const forbidden = (action: string): ApiError =>
  new ApiError(403, `Policy doesn't allow ${action} to be performed.`);

/** Cinder's name of each kind of error in its body. Source: `cinder.api.openstack.wsgi.Fault`. */
const faultNames: Record<number, string> = {
  400: 'badRequest',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'itemNotFound',
  405: 'badMethod',
  406: 'notAcceptable',
  409: 'conflictingRequest',
  413: 'overLimit',
  415: 'badMediaType',
  429: 'overLimit',
  501: 'notImplemented',
  503: 'serviceUnavailable',
};

/** @returns the body of an error as clients read it. */
export function faultOf({ status, message, headers }: ApiError): object {
  const retryAfter = headers['retry-after'];
  return { [faultNames[status] ?? 'computeFault']: { code: status, message, ...(retryAfter && { retryAfter }) } };
}

/** Statuses that Cinder answers for what these failures say; others are 500. */
const statuses: Partial<Record<ErrorType, number>> = {
  InvalidRequest: 400,
  Conflict: 409,
  SnapshotConflict: 409,
  VolumeNotFound: 404,
  VolumeDeleted: 404,
  VolumeInUse: 400,
  VolumeHasSnapshots: 400,
  VolumeNotReady: 400,
  VolumeBusy: 409,
  AttachmentNotFound: 404,
  AttachmentInUse: 409,
  SnapshotNotFound: 404,
  TransferNotFound: 404,
  VolumeTypeNotFound: 404,
  NoBackendFits: 400,
  MessageNotFound: 404,
  BackendNotFound: 400,
  ImageNotFound: 400,
  FollowNotFound: 400,
  ImageNotActive: 400,
  ImageUnsupported: 400,
  ImageRefused: 400,
  ImageChanged: 409,
  QuotaExceeded: 413,
  NoSpace: 413,
  CreateCancelled: 409,
  ForeignRun: 409,
  ImageServiceUnavailable: 503,
  IdentityUnavailable: 503,
  ComputeServiceUnavailable: 503,
  CredentialsRefused: 503,
  BackendUnavailable: 503,
  DatabaseUnavailable: 503,
  TemporalUnavailable: 503,
  NotConfigured: 503,
  OtherVersion: 503,
  WaitInterrupted: 503,
};

/** @returns what a caller is told of a failure; undefined for a bug, of which nothing is told. */
export function answerTo(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (!(error instanceof ImageVolumeCacheError)) return undefined;
  const status = statuses[error.type];
  if (error.type === 'QuotaExceeded') return overLimit(error);
  return status === undefined ? undefined : new ApiError(status, error.message, { cause: error });
}

/** In Cinder's words. Source: `cinder.exception`. */
function overLimit(error: ImageVolumeCacheError): ApiError {
  const { quota, volumeType, limit, used, asked } = error.details as unknown as FailureDetails['QuotaExceeded'];
  const inGiB = (bytes: number) => Math.ceil(bytes / GiB);
  const ofType = volumeType === undefined ? '' : `_${volumeType}`;
  const words = {
    volumes: `Maximum number of volumes allowed (${limit}) exceeded for quota 'volumes${ofType}'.`,
    snapshots: `Maximum number of snapshots allowed (${limit}) exceeded`,
    bytes: `Requested volume or snapshot exceeds allowed gigabytes${ofType} quota. Requested ${inGiB(asked)}G, quota is ${Math.floor(limit / GiB)}G and ${inGiB(used)}G has been consumed.`,
    volumeBytes: `Requested volume size ${inGiB(asked)}G is larger than maximum allowed limit ${Math.floor(limit / GiB)}G.`,
  };
  return new ApiError(413, words[quota], { cause: error, headers: { 'retry-after': '0' } });
}
