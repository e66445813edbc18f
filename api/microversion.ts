import { ApiError } from './errors';

/** The lowest and the highest minor version of v3 that is served: docs/api.md lists what each one changes. */
export const LEAST_MINOR = 0;
export const MOST_MINOR = 70;

export const versionText = (minor: number): string => `3.${minor}`;

/**
 * @param header `OpenStack-API-Version`, such as `volume 3.59` or `compute 2.1, volume latest`.
 * @returns the minor version that is asked for; the lowest where none is. @throws ApiError 406 outside of what is served, 400 for what is none.
 */
export function parseMicroversion(header: string | undefined): number {
  const asked = header
    ?.split(',')
    .map((part) => part.trim().split(/\s+/))
    .find(([service]) => service?.toLowerCase() === 'volume')?.[1];
  if (asked === undefined) return LEAST_MINOR;
  if (asked === 'latest') return MOST_MINOR;
  const [, major, minor] = /^([1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/.exec(asked) ?? [];
  if (major === undefined || minor === undefined)
    throw new ApiError(
      400,
      `API Version String ${asked.slice(0, 64)} is of invalid format. Must be of format MajorNum.MinorNum.`,
    );
  if (Number(major) !== 3 || Number(minor) > MOST_MINOR)
    throw new ApiError(
      406,
      `Version ${asked} is not supported by the API. Minimum is ${versionText(LEAST_MINOR)} and maximum is ${versionText(MOST_MINOR)}.`,
    );
  return Number(minor);
}
