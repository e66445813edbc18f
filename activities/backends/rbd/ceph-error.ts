import { constants } from 'node:os';

/** What a call to Ceph answered. */
export class CephError extends Error {
  constructor(
    /** The call of librados or librbd, or the tool's command. */
    readonly call: string,
    /** Positive, as the kernel numbers them. */
    readonly errno: number,
  ) {
    super(`${call}: ${nameOf(errno)}`);
    this.name = 'CephError';
  }
}

const { ENOENT, EEXIST, EBUSY, ENOTEMPTY, ENOSPC, EDQUOT, ETIMEDOUT, EPERM, EACCES, ENOTCONN, EINVAL } =
  constants.errno;
/** Ceph's EBLOCKLISTED. */
const ESHUTDOWN = 108;

const kinds = {
  absent: [ENOENT],
  exists: [EEXIST],
  busy: [EBUSY],
  'not-empty': [ENOTEMPTY],
  full: [ENOSPC, EDQUOT],
  /** Whether it was done is not known: what is there must be read again. */
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

function nameOf(errno: number): string {
  if (errno === ESHUTDOWN) return 'EBLOCKLISTED';
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
