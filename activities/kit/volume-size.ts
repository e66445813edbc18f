import { MiB, roundUpTo } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { Admission } from '../../workflows/contract/population';

/** New volumes are sized in whole units of this. */
export const SIZE_UNIT_BYTES = MiB;

/** @returns a volume's size once the guest-visible bytes are known. @throws InvalidRequest when the request's size is below them (final). */
export function sizeOf({ sizeBytes, minDiskBytes }: Admission, virtualBytes: number): number {
  if (sizeBytes === null) return roundUpTo(Math.max(virtualBytes, minDiskBytes), SIZE_UNIT_BYTES);
  if (sizeBytes >= virtualBytes) return sizeBytes;
  throw new Failure('InvalidRequest', {
    field: 'sizeBytes',
    value: String(sizeBytes),
    allowed: `at least ${virtualBytes}, the image's virtual size as its bytes say`,
  });
}
