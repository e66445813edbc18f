import { formatBytes } from '../../../workflows/contract/bytes';
import { formatShare } from '../output/format';

/** Where a plot's axis ends, into how many parts it is divided, and how its values are written. */
export interface Axis {
  top: number;
  steps: number;
  format: (value: number) => string;
}

export const shareAxis: Axis = { top: 1, steps: 4, format: formatShare };

const WANTED_STEPS = 4;

/**
 * An axis for values up to `value`, which is above 0: every tick is 1, 2 or 5 times a power of ten, or a multiple of
 * such.
 * @param leastStep for what is counted: 1.
 */
export function niceTicks(value: number, leastStep = 0): Pick<Axis, 'top' | 'steps'> {
  const wanted = Math.max(value / WANTED_STEPS, leastStep);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= wanted * (1 - 1e-9)) ?? 10);
  const steps = Math.max(1, Math.ceil((value / step) * (1 - 1e-9)));
  return { top: steps * step, steps };
}

/** Ends at a power of two of a binary unit. */
export function bytesAxis(bytes: number): Axis {
  const top = 2 ** Math.ceil(Math.log2(Math.max(4, bytes)));
  return { top, steps: 4, format: (value) => formatBytes(Math.round(value)) };
}

const units = [
  { name: 'd', seconds: 86_400 },
  { name: 'h', seconds: 3600 },
  { name: 'min', seconds: 60 },
];

/** All values in one unit. */
export function secondsAxis(seconds: number): Axis {
  const unit = units.find((candidate) => seconds >= candidate.seconds) ?? { name: 's', seconds: 1 };
  const { top, steps } = niceTicks(Math.max(1, seconds / unit.seconds));
  return {
    top: top * unit.seconds,
    steps,
    format: (value) => `${Math.round((value / unit.seconds) * 100) / 100} ${unit.name}`,
  };
}
