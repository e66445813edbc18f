import { formatBytes } from '../../../workflows/contract/bytes';
import { formatShare } from '../output/format';

/** Where a plot's axis ends, and how its values are written. */
export interface Axis {
  top: number;
  format: (value: number) => string;
}

export const shareAxis: Axis = { top: 1, format: formatShare };

/** @returns the smallest of 1, 2, 4, 5, 8 and 10 times a power of ten that is at least `value`, which is above 0. */
export function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 4, 5, 8, 10].find((factor) => factor * power >= value * (1 - 1e-9)) ?? 10;
  return step * power;
}

/** Ends at a power of two of a binary unit. */
export function bytesAxis(bytes: number): Axis {
  const top = 2 ** Math.ceil(Math.log2(Math.max(4, bytes)));
  return { top, format: (value) => formatBytes(Math.round(value)) };
}

const units = [
  { name: 'd', seconds: 86_400 },
  { name: 'h', seconds: 3600 },
  { name: 'min', seconds: 60 },
];

/** All values in one unit. */
export function secondsAxis(seconds: number): Axis {
  const unit = units.find((candidate) => seconds >= candidate.seconds) ?? { name: 's', seconds: 1 };
  const top = unit.seconds * niceTop(Math.max(1, seconds / unit.seconds));
  return { top, format: (value) => `${Math.round((value / unit.seconds) * 100) / 100} ${unit.name}` };
}
