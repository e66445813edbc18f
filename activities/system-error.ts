/** @returns whether a disk or its quota is full. */
export function isFull(error: unknown): boolean {
  return hasCode(error, 'ENOSPC') || hasCode(error, 'EDQUOT');
}

/** By its shape: errors of the file system are no instances of this realm's `Error` everywhere, such as in a test's sandbox. */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
