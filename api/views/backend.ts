/** @returns what Cinder calls the host of a backend: there is one service a backend. */
export const hostOf = (backend: string): string => `${backend}@${backend}`;

/** @returns as `hostOf`, with the pool. */
export const poolOf = (backend: string): string => `${hostOf(backend)}#${backend}`;
