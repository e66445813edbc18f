import { z } from 'zod';
import { GiB, KiB, MiB, TiB } from '../../workflows/contract/bytes';

const sizeUnits: Record<string, number> = { B: 1, KiB, MiB, GiB, TiB };
const durationUnitsMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const SIZE_EXAMPLE = 'a size such as 100GiB, 512MiB or a whole number of bytes';
const DURATION_EXAMPLE = 'a duration such as 250ms, 90s, 30m, 6h or 7d';
const PERCENTAGE_EXAMPLE = 'a percentage from 0% to 100%';

/** A size in the file: `100GiB`, `512 MiB`, or plain bytes. Parsed to bytes. */
export const size = z
  .union([z.number(), z.string()], SIZE_EXAMPLE)
  .transform((value, context) => quantity(value, sizeUnits, { context, example: SIZE_EXAMPLE }));

/** A duration in the file: `6h`, `90s`, `250ms`. Parsed to milliseconds. */
export const duration = z
  .string(DURATION_EXAMPLE)
  .transform((value, context) => quantity(value, durationUnitsMs, { context, example: DURATION_EXAMPLE }));

/** A share of a whole in the file: `10%`. Parsed to a fraction of 1. */
export const percentage = z.string(PERCENTAGE_EXAMPLE).transform((value, context) => {
  const match = /^(\d+(?:\.\d+)?)\s*%$/.exec(value.trim());
  const fraction = match ? Number(match[1]) / 100 : Number.NaN;
  if (fraction >= 0 && fraction <= 1) return fraction;
  context.addIssue({ code: 'custom', message: PERCENTAGE_EXAMPLE });
  return z.NEVER;
});

interface QuantityOptions {
  context: z.RefinementCtx;
  example: string;
}

function quantity(
  value: number | string,
  units: Record<string, number>,
  { context, example }: QuantityOptions,
): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(String(value).trim());
  const unit = match?.[2] === '' && units['B'] !== undefined ? 1 : units[match?.[2] ?? ''];
  const parsed = match && unit !== undefined ? Number(match[1]) * unit : Number.NaN;
  if (Number.isSafeInteger(parsed)) return parsed;
  context.addIssue({ code: 'custom', message: example });
  return z.NEVER;
}
