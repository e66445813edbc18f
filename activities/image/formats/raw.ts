import { roundUpTo, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { findPartitionTableRefusal } from './partition-table';
import type { Signature } from './signatures';
import { need, type Steps, type Subject } from './steps';
import { refuse, type ImageVerdict } from './verdict';

/** Inspects a disk without any format: only its size, its partition table and whole-disk encryption can be checked. */
export function* inspectRaw(subject: Subject, signatures: Signature[]): Steps<ImageVerdict> {
  const { policy, sizeBytes } = subject;
  const virtualSizeBytes = roundUpTo(sizeBytes, SECTOR_BYTES);
  const encrypted = signatures.some(({ format }) => format === 'luks');
  if (encrypted && !policy.allowEncrypted) {
    return refuse('encrypted', {
      offset: 0,
      found: 'a LUKS header at the start of the disk',
      allowed: 'no encryption of the whole image',
    });
  }
  const hasBootSector = signatures.some(({ format }) => format === 'partition-table');
  const tableRefusal = hasBootSector ? findPartitionTableRefusal(yield* need(0, SECTOR_BYTES), policy) : undefined;
  return (
    tableRefusal ?? {
      kind: 'accepted',
      format: 'raw',
      virtualSizeBytes,
      details: { bootSector: hasBootSector, encrypted },
    }
  );
}
