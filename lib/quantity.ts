export const durationUnitsMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * @returns `text` of digits and a unit in that unit's measure, exact; NaN for anything else. No unit is the unit of an
 * empty name.
 */
export function parseQuantity(text: string, units: Record<string, number>): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const parsed = Number(match?.[1]) * (units[match?.[2] ?? ''] ?? Number.NaN);
  return Number.isSafeInteger(parsed) ? parsed : Number.NaN;
}
