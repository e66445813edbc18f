import { jsonBytes } from './bytes';
import type { EvictionResult } from './eviction';

/*
 * The evictor's answers are kept in payloads, which the server refuses by their bytes, not by the lines in them.
 */

/** Lines that each list of a result may have: as many as fit. */
const ROWS = [100, 50, 25, 12, 6, 3, 1, 0];
/** Of one sentence: some of it comes from backends and operators. */
const SUMMARY_CHARACTERS = 2000;

/** @returns the result with as many lines of its lists as fit into `mostBytes` of JSON. */
export function boundResult(result: EvictionResult, mostBytes: number): EvictionResult {
  const whole = { ...result, summary: result.summary.slice(0, SUMMARY_CHARACTERS) };
  const rows = ROWS.find((count) => jsonBytes(withRows(whole, count)) <= mostBytes) ?? 0;
  return withRows(whole, rows);
}

/** @returns results that fit into `mostBytes` of JSON together, each with its share of it. */
export function shareBytes(results: EvictionResult[], mostBytes: number): EvictionResult[] {
  return results.map((result) => boundResult(result, mostBytes / results.length));
}

/**
 * @returns results that fit into `mostBytes` of JSON together: from the first on, counted from the newest, that does
 * not fit, the older ones lose their
 *   lists.
 * @param bytesOf of one result; called for each of them.
 */
export function boundOldest(
  results: EvictionResult[],
  mostBytes: number,
  bytesOf: (result: EvictionResult) => number = jsonBytes,
): EvictionResult[] {
  const bounded: EvictionResult[] = [];
  let bytes = 0;
  let fits = true;
  for (const result of results.toReversed()) {
    fits &&= bytes + bytesOf(result) <= mostBytes;
    const kept = fits ? result : withRows(result, 0);
    bytes += bytesOf(kept);
    bounded.unshift(kept);
  }
  return bounded;
}

function withRows(result: EvictionResult, rows: number): EvictionResult {
  const { plan, evicted, held, flattened } = result;
  const lists = [plan?.evict, plan?.stay, evicted, held, flattened];
  if (lists.every((list) => list === undefined || list.length <= rows)) return result;
  return {
    ...result,
    ...(evicted && { evicted: evicted.slice(0, rows) }),
    ...(held && { held: held.slice(0, rows) }),
    ...(flattened && { flattened: flattened.slice(0, rows) }),
    ...(plan && { plan: { ...plan, evict: plan.evict.slice(0, rows), stay: plan.stay.slice(0, rows) } }),
    shortened: true,
  };
}
