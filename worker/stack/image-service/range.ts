import { HttpError } from './http';

export interface ByteRange {
  start: number;
  /** Inclusive. */
  end: number;
}

/**
 * A single range as Glance understands it; undefined without a header. @throws HttpError 400 for several, 416 for one
 * outside of the bytes.
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  if (header === undefined) return undefined;
  if (header.includes(','))
    throw new HttpError(
      400,
      'Requests with multiple ranges are not supported. You may make multiple single-range requests instead.',
    );
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  const [first = '', last = ''] = match?.slice(1) ?? [];
  if (match === null || first + last === '')
    throw new HttpError(416, 'The Range requested is not available. Invalid Range header.');
  const range =
    first === ''
      ? { start: Math.max(sizeBytes - Number(last), 0), end: sizeBytes - 1 }
      : { start: Number(first), end: Math.min(last === '' ? sizeBytes - 1 : Number(last), sizeBytes - 1) };
  if (range.start >= sizeBytes || range.start > range.end)
    throw new HttpError(
      416,
      `The Range requested is not available. Start position MUST be in the inclusive range [0, ${sizeBytes - 1}].`,
    );
  return range;
}
