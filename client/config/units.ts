import { z } from 'zod';
import { durationUnitsMs, parseQuantity } from '../../lib/quantity';
import { GiB, KiB, MiB, TiB } from '../../workflows/contract/bytes';

const sizeUnits: Record<string, number> = { '': 1, B: 1, KiB, MiB, GiB, TiB };

const SIZE_EXAMPLE = 'a size such as 100GiB, 512MiB or a whole number of bytes';
const DURATION_EXAMPLE = 'a duration such as 250ms, 90s, 30m, 6h or 7d';
const PERCENTAGE_EXAMPLE = 'a percentage from 0% to 100%';

/** A size in the file: `100GiB`, `512 MiB`, or plain bytes. Parsed to bytes. */
export const size = z.union([z.number(), z.string()], SIZE_EXAMPLE).transform(quantity(sizeUnits, SIZE_EXAMPLE));

/** A duration in the file: `6h`, `90s`, `250ms`. Parsed to milliseconds. */
export const duration = z.string(DURATION_EXAMPLE).transform(quantity(durationUnitsMs, DURATION_EXAMPLE));

/** A share of a whole in the file: `10%`. Parsed to a fraction of 1. */
export const percentage = z.string(PERCENTAGE_EXAMPLE).transform((value, context) => {
  const match = /^(\d+(?:\.\d+)?)\s*%$/.exec(value.trim());
  const fraction = match ? Number(match[1]) / 100 : Number.NaN;
  if (fraction >= 0 && fraction <= 1) return fraction;
  context.addIssue({ code: 'custom', message: PERCENTAGE_EXAMPLE });
  return z.NEVER;
});

function quantity(units: Record<string, number>, example: string) {
  return (value: number | string, context: z.RefinementCtx): number => {
    const parsed = parseQuantity(String(value), units);
    if (!Number.isNaN(parsed)) return parsed;
    context.addIssue({ code: 'custom', message: example });
    return z.NEVER;
  };
}
