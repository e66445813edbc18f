const POLYNOMIAL = 0x82f63b78;
const table = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL;
  return crc >>> 0;
});

/** @returns the CRC-32C (Castagnoli) of `bytes`, the four bytes at `checksumAt` read as zero. */
export function crc32c(bytes: Buffer, checksumAt: number): number {
  let crc = 0xffffffff;
  for (const [index, byte] of bytes.entries()) {
    const value = index >= checksumAt && index < checksumAt + 4 ? 0 : byte;
    crc = (crc >>> 8) ^ (table[(crc ^ value) & 0xff] ?? 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
