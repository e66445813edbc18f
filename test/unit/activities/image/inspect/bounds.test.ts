import fc from 'fast-check';
import { imageFormats, defaultImagePolicy } from '../../../../../activities/image/policy';
import { findSignatures } from '../../../../../activities/image/formats/signatures';
import { MAX_RANGE_BYTES } from '../../../../../activities/image/formats/steps';
import { inspect, inspectHead, inspectWrittenRaw } from '../../../../../activities/image/inspect';
import { GiB, KiB, MiB, TiB } from '../../../../../workflows/contract/bytes';
import { bannedHeads, patched, qcow2Image, vhdImage, vhdxImage, vdiImage, vmdkImage, wellFormedImages, withVhdChecksums, withVhdxChecksums } from '../../../../support/image-fixtures';

/** A run's limit: generous for a busy machine, far below what a loop without end would take. */
const MAX_MS_A_RUN = 2000;
const numRuns = 300;
const policy = { ...defaultImagePolicy, maxVirtualBytes: 2 ** 50, expansionAllowanceBytes: MiB, maxExpansion: 2 };

const seeds = [
  ...wellFormedImages.map(({ format, build }) => ({ format, image: build() })),
  { format: 'qcow2', image: qcow2Image({ virtualBytes: TiB, l2Tables: [[1n << 63n, (1n << 62n) | 7n], []], snapshots: [{}, {}] }) },
  { format: 'qcow2', image: qcow2Image({ clusterBits: 9, virtualBytes: GiB }) },
  { format: 'vmdk', image: vmdkImage({ capacitySectors: 2 ** 24 }) },
  { format: 'vhd', image: vhdImage({ virtualBytes: GiB, blocks: [100] }) },
  { format: 'vhdx', image: vhdxImage({ virtualBytes: TiB, batBytes: 2 * MiB }) },
  { format: 'vdi', image: vdiImage({ virtualBytes: GiB, map: [0, 1] }) },
];

/** Numbers that headers break on, as eight bytes. */
const numbers = fc.oneof(
  fc.constantFrom(0n, 1n, 7n, 511n, 512n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 2n ** 20n }),
);
const mutation = fc.record({
  // Headers and tables are where the meaning is: most mutations go there.
  at: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 600 }) }, fc.constantFrom(1536, 10_752, 65_536, 131_072, 196_608, 262_144, 2 * MiB, 3 * MiB), fc.nat(4 * MiB)),
  delta: fc.integer({ min: 0, max: 200 }),
  bytes: fc.oneof(numbers.chain(encodings), fc.uint8Array({ minLength: 1, maxLength: 16 }).map((bytes) => Buffer.from(bytes))),
});

function encodings(value: bigint): fc.Arbitrary<Buffer> {
  const big = Buffer.alloc(8);
  big.writeBigUInt64BE(value);
  return fc.constantFrom(big, Buffer.from(big).reverse(), big.subarray(4), Buffer.from(big).reverse().subarray(0, 4), big.subarray(6), Buffer.from(big).reverse().subarray(0, 2)); // eslint-disable-line unicorn/no-array-reverse
}

interface Mutated {
  format: string;
  image: Buffer;
}

const mutated = fc
  .record({ seed: fc.constantFrom(...seeds), mutations: fc.array(mutation, { minLength: 1, maxLength: 6 }), cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 5 }), checksums: fc.boolean() })
  .map(({ seed, mutations, cut, checksums }): Mutated => {
    const fits = mutations.filter(({ at, delta, bytes }) => at + delta + bytes.length <= seed.image.length);
    const image = patched(seed.image, fits.map(({ at, delta, bytes }) => [at + delta, 'bytes', bytes])); // prettier-ignore
    const repaired = checksums ? repairChecksums(seed.format, image) : image;
    return { format: seed.format, image: cut === null ? repaired : repaired.subarray(0, Math.floor(repaired.length * cut)) };
  });

/** With the checksums right, mutations reach the rules behind them. */
function repairChecksums(format: string, image: Buffer): Buffer {
  if (format === 'vhd') return withVhdChecksums(image);
  return format === 'vhdx' ? withVhdxChecksums(image) : image;
}

/** Judges with a reader that fails the test on every range that no parser may ask for. */
async function judgeBounded(image: Buffer, format: string, sizeBytes = image.length) {
  const started = performance.now();
  const verdict = await inspect({
    declaredFormat: format,
    sizeBytes,
    policy,
    read: (offset, lengthBytes) => {
      expect(Number.isSafeInteger(offset) && offset >= 0 && lengthBytes > 0 && lengthBytes <= MAX_RANGE_BYTES && offset + lengthBytes <= sizeBytes).toBe(true);
      return Promise.resolve(image.subarray(offset, offset + lengthBytes));
    },
  });
  expect(performance.now() - started).toBeLessThan(MAX_MS_A_RUN);
  return verdict;
}

describe('Every parser', () => {
  it('ends with a verdict on every mutation of every format, and reads nothing outside the file', async () => {
    await fc.assert(
      fc.asyncProperty(mutated, fc.constantFrom(...imageFormats), async ({ format, image }, other) => {
        for (const declared of new Set([format, other])) {
          const verdict = await judgeBounded(image, declared);
          if (verdict.kind === 'accepted') {
            expect(verdict.virtualSizeBytes).toBeGreaterThan(0);
            expect(verdict.virtualSizeBytes % 512).toBe(0);
            expect(verdict.virtualSizeBytes).toBeLessThanOrEqual(policy.maxVirtualBytes);
          } else {
            expect(verdict.found.length + verdict.allowed.length).toBeLessThan(400);
          }
        }
      }),
      { numRuns },
    );
  }, 180_000);

  it('says of a stream’s first bytes nothing that the whole file contradicts', async () => {
    await fc.assert(
      fc.asyncProperty(mutated, fc.nat(MiB), async ({ format, image }, headBytes) => {
        const early = inspectHead(image.subarray(0, headBytes), { declaredFormat: format, sizeBytes: image.length, policy });
        const verdict = await judgeBounded(image, format);
        if (early.kind === 'refused') expect(verdict.kind).toBe('refused');
        if (early.kind === 'accepted') expect(verdict).toEqual(early);
      }),
      { numRuns },
    );
  }, 180_000);

  it('judges random bytes behind every signature', async () => {
    const magics = [...Object.values(bannedHeads), Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.from('KDMV'), Buffer.from('conectix'), Buffer.from('vhdxfile'), Buffer.from('# Disk DescriptorFile\n'), Buffer.from('LUKS\xba\xbe', 'latin1')];
    const bytes = fc.uint8Array({ minLength: 0, maxLength: 4 * KiB, size: 'max' });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...magics), bytes, fc.constantFrom(...imageFormats), async (magic, rest, declared) => {
        const image = Buffer.concat([magic, rest]);
        await judgeBounded(image, declared);
        inspectHead(image, { declaredFormat: declared, policy });
        inspectWrittenRaw(image, { declaredFormat: declared, policy });
      }),
      { numRuns },
    );
  }, 180_000);

  it('survives a file that is not what its record says', async () => {
    await fc.assert(
      fc.asyncProperty(mutated, fc.constantFrom(1, 513, 70_000, 16 * MiB, 2 ** 42, Number.MAX_SAFE_INTEGER), async ({ format, image }, sizeBytes) => {
        await judgeBounded(image, format, sizeBytes);
      }),
      { numRuns },
    );
  }, 180_000);

  it.each([Number.NaN, -1, 0, 0.5, Infinity, Number.MAX_VALUE])('refuses a file of %p bytes or asks for more', async (sizeBytes) => {
    for (const { format, image } of seeds) {
      const verdict = await inspect({ declaredFormat: format, sizeBytes, policy, read: (offset, lengthBytes) => Promise.resolve(image.subarray(offset, offset + lengthBytes)) });
      expect(verdict.kind).toBe('refused');
    }
  });
});

describe('The search for signatures', () => {
  it('takes bounded time on text made to be searched for long', () => {
    for (const line of ['#\n', ' \n', '\r\n', '# ', '\t', 'createtype ', 'version', ' version ', '#\n version\n']) {
      const started = performance.now();
      findSignatures(Buffer.from(line.repeat(100_000)));
      expect(performance.now() - started).toBeLessThan(MAX_MS_A_RUN);
    }
  });

  it('never throws, whatever the bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void findSignatures(Buffer.from(bytes))));
  });
});

describe('The number of reads', () => {
  it('is bounded by the rule inspection-too-long', async () => {
    // Every L2 table of 512 bytes lies far from the next, so that no two come in one read.
    const cluster = 512;
    const stride = 128 * KiB;
    const entries = 400_000;
    const header = qcow2Image({ clusterBits: 9, virtualBytes: entries * cluster * 64 });
    const l1 = Number(header.readBigUInt64BE(40));
    const sizeBytes = (entries + 1024) * stride;
    for (let index = 0; index < entries; index++) header.writeBigUInt64BE(BigInt((index + 512) * stride), l1 + index * 8);
    const read = (offset: number, lengthBytes: number) => Promise.resolve(offset + lengthBytes <= header.length ? header.subarray(offset, offset + lengthBytes) : Buffer.alloc(lengthBytes));
    const verdict = await inspect({ declaredFormat: 'qcow2', sizeBytes, policy: { ...policy, maxExpansion: 0 }, read });
    expect(verdict).toMatchObject({ kind: 'refused', rule: 'inspection-too-long' });
  }, 60_000);
});
