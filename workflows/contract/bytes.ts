export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/** Volumes are addressed in sectors of this many bytes. */
export const SECTOR_BYTES = 512;

/** @returns the smallest multiple of `unit` that is at least `bytes`. */
export function roundUpTo(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}

/** @returns `bytes` for people, in binary units: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const scaled = bytes / 1024 ** power;
  return `${Number.isInteger(scaled) ? scaled : scaled.toFixed(1)} ${units[power]}`;
}
