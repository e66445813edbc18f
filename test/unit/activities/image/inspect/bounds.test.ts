import * as fc from 'fast-check';
import { findSignatures } from '../../../../../activities/image/formats/signatures';
import { MAX_RANGE_BYTES } from '../../../../../activities/image/formats/steps';
import { inspect, inspectHead, inspectWrittenRaw, type ImageVerdict } from '../../../../../activities/image/inspect';
import { defaultImagePolicy, imageFormats } from '../../../../../activities/image/policy';
import { GiB, KiB, MiB, TiB } from '../../../../../workflows/contract/bytes';
import {
  bannedHeads,
  mutantsOf,
  qcow2Image,
  repairChecksums,
  vdiImage,
  vhdImage,
  vhdxImage,
  vmdkImage,
  wellFormedImages,
} from '../../../../support/images/image-fixtures';

/** A run's limit: generous for a busy machine, far below what a loop without end would take. */
const MAX_MS_A_RUN = 2000;
const PROPERTY_TIMEOUT_MS = 180_000;
const numRuns = 300;
const policy = { ...defaultImagePolicy, maxVirtualBytes: 2 ** 50, expansionAllowanceBytes: MiB, maxExpansion: 2 };

const sparseQcow2 = qcow2Image({
  virtualBytes: TiB,
  l2Tables: [[1n << 63n, (1n << 62n) | 7n], []],
  snapshots: [{}, {}],
});
const seeds = [
  ...wellFormedImages.map(({ format, build }) => ({ format, image: build() })),
  { format: 'qcow2', image: sparseQcow2 },
  { format: 'qcow2', image: qcow2Image({ clusterBits: 9, virtualBytes: GiB }) },
  { format: 'vmdk', image: vmdkImage({ capacitySectors: 2 ** 24 }) },
  { format: 'vhd', image: vhdImage({ virtualBytes: GiB, blocks: [100] }) },
  { format: 'vhdx', image: vhdxImage({ virtualBytes: TiB, batBytes: 2 * MiB }) },
  { format: 'vdi', image: vdiImage({ virtualBytes: GiB, map: [0, 1] }) },
];
const mutants = mutantsOf(seeds, repairChecksums);

/** @returns the verdict and everything that no parser may do on the way to it. */
async function inspectWatched(image: Buffer, declaredFormat: string, sizeBytes = image.length) {
  const faults: string[] = [];
  const read = (offset: number, lengthBytes: number) => {
    const isBounded = lengthBytes > 0 && lengthBytes <= MAX_RANGE_BYTES;
    if (!isBounded || !Number.isSafeInteger(offset) || offset < 0 || offset + lengthBytes > sizeBytes) {
      faults.push(`reads ${lengthBytes} bytes at ${offset} of ${sizeBytes}`);
    }
    return Promise.resolve(image.subarray(offset, offset + lengthBytes));
  };
  const started = performance.now();
  const verdict = await inspect({ declaredFormat, sizeBytes, policy, read });
  if (performance.now() - started > MAX_MS_A_RUN) faults.push(`takes more than ${MAX_MS_A_RUN} ms`);
  return { verdict, faults: [...faults, ...faultsOf(verdict)] };
}

function faultsOf(verdict: ImageVerdict): string[] {
  if (verdict.kind === 'refused') {
    return verdict.found.length + verdict.allowed.length < 400 ? [] : ['says more than a person reads'];
  }
  const { virtualSizeBytes } = verdict;
  const isSize = virtualSizeBytes > 0 && virtualSizeBytes % 512 === 0 && virtualSizeBytes <= policy.maxVirtualBytes;
  return isSize ? [] : [`accepts ${virtualSizeBytes} bytes`];
}

describe('Every parser', () => {
  it(
    'ends with a verdict on every mutation of every format, and reads nothing outside the file',
    async () => {
      const property = fc.asyncProperty(mutants, fc.constantFrom(...imageFormats), async ({ format, image }, other) => {
        expect((await inspectWatched(image, format)).faults).toEqual([]);
        expect((await inspectWatched(image, other)).faults).toEqual([]);
      });
      await fc.assert(property, { numRuns });
    },
    PROPERTY_TIMEOUT_MS,
  );

  it(
    'says of a stream’s first bytes nothing that the whole file contradicts',
    async () => {
      const property = fc.asyncProperty(mutants, fc.nat(MiB), async ({ format, image }, headBytes) => {
        const head = image.subarray(0, headBytes);
        const early = inspectHead(head, { declaredFormat: format, sizeBytes: image.length, policy });
        const { verdict } = await inspectWatched(image, format);
        expect([verdict.kind, 'undecided']).toContain(early.kind);
        expect(early.kind === 'accepted' ? early : verdict).toEqual(verdict);
      });
      await fc.assert(property, { numRuns });
    },
    PROPERTY_TIMEOUT_MS,
  );

  it(
    'judges random bytes behind every signature',
    async () => {
      const others = ['QFI\xfb\0\0\0\x03', 'KDMV', 'conectix', 'vhdxfile', '# Disk DescriptorFile\n', 'LUKS\xba\xbe'];
      const magics = [...Object.values(bannedHeads), ...others.map((magic) => Buffer.from(magic, 'latin1'))];
      const images = fc
        .tuple(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 4 * KiB, size: 'max' }))
        .map(([magic, rest]) => Buffer.concat([magic, rest]));
      const property = fc.asyncProperty(images, fc.constantFrom(...imageFormats), async (image, declaredFormat) => {
        expect((await inspectWatched(image, declaredFormat)).faults).toEqual([]);
        expect(['undecided', 'refused']).toContain(inspectHead(image, { declaredFormat, policy }).kind);
        expect(inspectWrittenRaw(image, { declaredFormat, policy }).kind).toBe('refused');
      });
      await fc.assert(property, { numRuns });
    },
    PROPERTY_TIMEOUT_MS,
  );

  it(
    'survives a file that is not what its record says',
    async () => {
      const sizes = fc.constantFrom(1, 513, 70_000, 16 * MiB, 2 ** 42, Number.MAX_SAFE_INTEGER);
      const property = fc.asyncProperty(mutants, sizes, async ({ format, image }, sizeBytes) => {
        expect((await inspectWatched(image, format, sizeBytes)).faults).toEqual([]);
      });
      await fc.assert(property, { numRuns });
    },
    PROPERTY_TIMEOUT_MS,
  );

  it.each([Number.NaN, -1, 0, 0.5, Infinity, Number.MAX_VALUE])('refuses a file of %p bytes', async (sizeBytes) => {
    for (const { format, image } of seeds) {
      const { verdict } = await inspectWatched(image, format, sizeBytes);
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
    const property = fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      expect(() => findSignatures(Buffer.from(bytes))).not.toThrow();
    });
    fc.assert(property);
  });
});

describe('The number of reads', () => {
  it('is bounded, by the rule inspection-too-long', async () => {
    // Every L2 table of 512 bytes lies far from the next, so that no two come in one read.
    const entries = 310_000;
    const strideBytes = 128 * KiB;
    const file = qcow2Image({ clusterBits: 9, virtualBytes: entries * 512 * 64 });
    const l1Offset = Number(file.readBigUInt64BE(40));
    for (let index = 0; index < entries; index++) {
      file.writeBigUInt64BE(BigInt((index + 512) * strideBytes), l1Offset + index * 8);
    }
    const read = (offset: number, lengthBytes: number) => {
      const isThere = offset + lengthBytes <= file.length;
      return Promise.resolve(isThere ? file.subarray(offset, offset + lengthBytes) : Buffer.alloc(lengthBytes));
    };
    const request = { declaredFormat: 'qcow2', sizeBytes: (entries + 1024) * strideBytes, read };
    expect(await inspect({ ...request, policy: { ...policy, maxExpansion: 0 } })).toMatchObject({
      kind: 'refused',
      rule: 'inspection-too-long',
    });
  }, 60_000);
});
