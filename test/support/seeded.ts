import { randomInt } from 'node:crypto';

/** A repeatable source of numbers: the same seed gives the same ones. */
export interface Random {
  seed: number;
  /** From 0, below 1. */
  next(): number;
  /** From `min`, below `max`. */
  between(min: number, max: number): number;
  /** The same with as many below the geometric mean as above: most are short, some are long. */
  mostlyShort(min: number, max: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
}

const SEED_VARIABLE = 'IVC_CRASH_SEED';
const SEEDS = 2 ** 31;

/** The seed is printed; set `IVC_CRASH_SEED` to it to get the same moments again. */
export function createRandom(what: string): Random {
  const given = process.env[SEED_VARIABLE];
  const seed = given === undefined ? randomInt(SEEDS) : Number.parseInt(given, 10);
  if (!Number.isInteger(seed)) throw new Error(`${SEED_VARIABLE}: got ${given}, allowed is a whole number`);
  process.stderr.write(`${what}: ${SEED_VARIABLE}=${seed}\n`);
  return fromSeed(seed);
}

/** Source: mulberry32. */
export function fromSeed(seed: number): Random {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    seed,
    next,
    between: (min, max) => min + next() * (max - min),
    mostlyShort: (min, max) => min * (max / min) ** next(),
    pick: (from) => from[Math.floor(next() * from.length)] ?? from[0],
  };
}
