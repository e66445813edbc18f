import { SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';

/** @throws InvalidRequest unless `bytes` is a size that a volume can have and lies between the two bounds. */
export function checkSize(
  bytes: number,
  { leastBytes, mostBytes = Number.MAX_SAFE_INTEGER }: { leastBytes: number; mostBytes?: number },
): void {
  if (Number.isSafeInteger(bytes) && bytes % SECTOR_BYTES === 0 && bytes >= leastBytes && bytes <= mostBytes) return;
  throw new Failure('InvalidRequest', {
    field: 'sizeBytes',
    value: String(bytes),
    allowed: `a multiple of ${SECTOR_BYTES} from ${leastBytes} to ${mostBytes - (mostBytes % SECTOR_BYTES)}`,
  });
}
