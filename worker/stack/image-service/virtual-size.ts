/** Bytes of the file's start that tell its virtual size. */
export const VIRTUAL_SIZE_HEAD_BYTES = 32;

const QCOW2_MAGIC = 0x514649fb;
/** docs/interop/qcow2.txt of QEMU: the virtual disk's size in bytes, big-endian. */
const QCOW2_SIZE_OFFSET = 24;

/** Guest-visible bytes by the *declared* format, as Glance has them; null where the bytes do not look like it. */
export function findVirtualSize(
  diskFormat: string | null,
  { head, sizeBytes }: { head: Buffer; sizeBytes: number },
): number | null {
  if (diskFormat === 'raw') return sizeBytes;
  if (diskFormat !== 'qcow2' || head.length < VIRTUAL_SIZE_HEAD_BYTES || head.readUInt32BE(0) !== QCOW2_MAGIC)
    return null;
  const size = head.readBigUInt64BE(QCOW2_SIZE_OFFSET);
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : null;
}
