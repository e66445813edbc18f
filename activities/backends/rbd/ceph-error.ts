import { constants } from 'node:os';

/** Error that a call to Ceph answered. It has the shape of the system's errors, so that `lib/errno.ts` reads it. */
export class CephError extends Error {
  readonly code: string;
  constructor(
    /** The call of librados or librbd, or the tool's command. */
    readonly call: string,
    /** Positive, as the kernel numbers them. */
    readonly errno: number,
  ) {
    const code = nameOf(errno);
    super(`${call}: ${code}`);
    this.name = 'CephError';
    this.code = code;
  }
}

const { ENOENT, EEXIST, EBUSY, ENOTEMPTY, ENOSPC, EDQUOT, ETIMEDOUT, EPERM, EACCES, ENOTCONN, EINVAL, ESTALE } =
  constants.errno;
/** Ceph's EBLOCKLISTED. */
const ESHUTDOWN = 108;

const kinds = {
  absent: [ENOENT],
  exists: [EEXIST],
  busy: [EBUSY],
  /** By another client meanwhile: the image has lost its name. */
  changed: [ESTALE],
  'not-empty': [ENOTEMPTY],
  full: [ENOSPC, EDQUOT],
  /** Whether it was done is not known: the state must be read again. */
  'in-doubt': [ETIMEDOUT],
  forbidden: [EPERM, EACCES],
  invalid: [EINVAL],
  /** This connection is of no more use. */
  disconnected: [ESHUTDOWN, ENOTCONN],
} as const satisfies Record<string, readonly number[]>;
export type CephErrorKind = keyof typeof kinds;

/** @returns whether `error` is Ceph's and of one of `wanted`. */
export function isCephError(error: unknown, ...wanted: CephErrorKind[]): boolean {
  return error instanceof CephError && wanted.some((kind) => (kinds[kind] as readonly number[]).includes(error.errno));
}

/** Error of a call whose cluster was closed: in doubt. */
export const isClosed = (): CephError => new CephError('close', ETIMEDOUT);

function nameOf(errno: number): string {
  if (errno === ESHUTDOWN) return 'EBLOCKLISTED';
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
