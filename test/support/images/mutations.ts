import * as fc from 'fast-check';
import { write } from './fields';

const MiB = 1024 * 1024;

/** An image and the format it was before it was harmed. */
export interface Mutant {
  format: string;
  image: Buffer;
}

/** Numbers that headers break on. */
const numbers = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    7n,
    511n,
    512n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 53n,
    2n ** 53n + 1n,
    2n ** 63n,
    2n ** 64n - 1n,
  ),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 2n ** 20n }),
);

/** Where tables and copies of headers begin in one format or another. */
const places = [512, 1536, 10_752, 65_536, 131_072, 196_608, 262_144, 2 * MiB, 2 * MiB + 65_536, 3 * MiB];

const mutation = fc.record({
  at: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 600 }) }, fc.constantFrom(...places), fc.nat(4 * MiB)),
  delta: fc.integer({ min: 0, max: 200 }),
  bytes: fc.oneof(
    numbers.chain(encodings),
    fc.uint8Array({ minLength: 1, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  ),
});

/** @returns `value` in eight, four and two bytes, in both orders. */
function encodings(value: bigint): fc.Arbitrary<Buffer> {
  const big = write(Buffer.alloc(8), [[0, 'u64be', value]]);
  const little = write(Buffer.alloc(8), [[0, 'u64le', value]]);
  return fc.constantFrom(big, big.subarray(4), big.subarray(6), little, little.subarray(0, 4), little.subarray(0, 2));
}

/** Copies of `seeds` with up to six places overwritten, some of them cut. @param repair makes checksums right again, so that mutations reach the rules behind them. */
export function mutantsOf(seeds: readonly Mutant[], repair: (mutant: Mutant) => Buffer): fc.Arbitrary<Mutant> {
  return fc
    .record({
      seed: fc.constantFrom(...seeds),
      mutations: fc.array(mutation, { minLength: 1, maxLength: 6 }),
      cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 5 }),
      repaired: fc.boolean(),
    })
    .map(({ seed: { format, image: original }, mutations, cut, repaired }) => {
      const image = Buffer.from(original);
      for (const { at, delta, bytes } of mutations) bytes.copy(image, at + delta);
      const whole = repaired ? repair({ format, image }) : image;
      return { format, image: cut === null ? whole : whole.subarray(0, Math.floor(whole.length * cut)) };
    });
}
