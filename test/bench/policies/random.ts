/** Numbers that are the same for the same seed. */
export interface Seeded {
  /** Uniform, from 0 to below 1. */
  next(): number;
  /** Of the normal distribution. */
  normal(): number;
  oneOf(values: readonly number[]): number;
  /** 0 to `count` - 1 in random order. */
  shuffled(count: number): number[];
  /** @returns a function that draws a rank from 0 to `count` - 1, whose chance falls as `1 / (rank + 1) ** exponent`. */
  zipf(count: number, exponent: number): () => number;
}

/** Mulberry32: 32 bits of state are plenty for traces. */
export function createSeeded(seed: number): Seeded {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const index = (count: number): number => Math.floor(next() * count);
  return {
    next,
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    oneOf: (values) => values[index(values.length)] ?? 0,
    shuffled: (count) => {
      const order = Array.from({ length: count }, (_, each) => each);
      for (let last = count - 1; last > 0; last -= 1) {
        const other = index(last + 1);
        [order[last], order[other]] = [order[other] ?? 0, order[last] ?? 0];
      }
      return order;
    },
    zipf: (count, exponent) => {
      const sums: number[] = [];
      for (let rank = 1; rank <= count; rank += 1) sums.push((sums.at(-1) ?? 0) + rank ** -exponent);
      const total = sums.at(-1) ?? 1;
      return () => {
        const drawn = next() * total;
        return Math.min(
          count - 1,
          sums.findIndex((sum) => sum > drawn),
        );
      };
    },
  };
}
