import type { Qcow2Header } from './qcow2-header';
import { isWithin, MAX_RANGE_BYTES, need, u64be, type Steps, type Subject } from './steps';
import { refuse, type ImageRefusal } from './verdict';

const FIXED_BYTES = 40;
/** QEMU's QCOW_MAX_SNAPSHOT_EXTRA_DATA. */
const MAX_EXTRA_BYTES = 1024;

/** Walks the table of internal snapshots. A snapshot of the disk alone is left behind by the conversion; one with VM state is a guest's memory. */
export function* findSnapshotRefusal(header: Qcow2Header, subject: Subject): Steps<ImageRefusal | undefined> {
  const { snapshotCount: count, snapshotsOffset: offset, clusterBytes } = header;
  const allowed = `at most ${subject.policy.maxSnapshots} snapshots in a table within the file, at a multiple of ${clusterBytes}`;
  const isAligned = Number.isSafeInteger(offset) && offset % clusterBytes === 0;
  // QEMU wants even the offset of an empty table aligned.
  if (isAligned && count === 0) return undefined;
  const isBounded =
    isAligned &&
    count <= subject.policy.maxSnapshots &&
    isWithin(subject, { offset, lengthBytes: count * FIXED_BYTES });
  if (!isBounded)
    return refuse('qcow2-snapshots', { offset: 60, found: `${count} snapshots at byte ${offset}`, allowed });
  const table = yield* need(offset, Math.min(MAX_RANGE_BYTES, subject.sizeBytes - offset));
  let at = 0;
  for (let index = 0; index < count; index++) {
    const lengthBytes = entryLength(table.subarray(at));
    if (lengthBytes === undefined)
      return refuse('qcow2-snapshots', {
        offset: offset + at,
        found: `snapshot ${index + 1} beyond the table`,
        allowed,
      });
    const refusal = findEntryRefusal(table.subarray(at, at + lengthBytes), { header, subject, offset: offset + at });
    if (refusal) return refusal;
    at += Math.ceil(lengthBytes / 8) * 8;
  }
  return undefined;
}

/** @returns the bytes of the entry at the start of `rest`, undefined when they are not all there. */
function entryLength(rest: Buffer): number | undefined {
  if (rest.length < FIXED_BYTES) return undefined;
  const extraBytes = rest.readUInt32BE(36);
  const lengthBytes = FIXED_BYTES + extraBytes + rest.readUInt16BE(12) + rest.readUInt16BE(14);
  return extraBytes <= MAX_EXTRA_BYTES && lengthBytes <= rest.length ? lengthBytes : undefined;
}

interface Place {
  header: Qcow2Header;
  subject: Subject;
  offset: number;
}

function findEntryRefusal(entry: Buffer, { header, subject, offset }: Place): ImageRefusal | undefined {
  const largeVmState = entry.readUInt32BE(36) >= 8 ? u64be(entry, FIXED_BYTES) : 0;
  const vmStateBytes = Math.max(entry.readUInt32BE(32), largeVmState);
  if (vmStateBytes > 0)
    return refuse('qcow2-vm-state', {
      offset,
      found: `an internal snapshot with ${vmStateBytes} bytes of VM state`,
      allowed: 'no VM state',
    });
  const l1 = { offset: u64be(entry, 0), lengthBytes: entry.readUInt32BE(8) * 8 };
  const isBounded =
    l1.lengthBytes <= subject.policy.maxTableBytes && l1.offset % header.clusterBytes === 0 && isWithin(subject, l1);
  return isBounded
    ? undefined
    : refuse('qcow2-snapshots', {
        offset,
        found: `a snapshot's L1 table of ${l1.lengthBytes} bytes at byte ${l1.offset}`,
        allowed: `at most ${subject.policy.maxTableBytes} bytes within the file, at a multiple of ${header.clusterBytes}`,
      });
}
