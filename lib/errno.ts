/**
 * @returns whether `error` is the system's, with one of `codes`. By its shape: errors of the file system are no instances of this realm's `Error`
 * everywhere, such as in a test's sandbox.
 */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && codes.some((code) => error.code === code);
}

/** @returns whether a disk or its quota is full. */
export function isDiskFull(error: unknown): boolean {
  return hasCode(error, 'ENOSPC', 'EDQUOT');
}

/** @returns the result of `operation`, or undefined when the file is not there. */
export async function unlessAbsent<Result>(operation: Promise<Result>): Promise<Result | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
