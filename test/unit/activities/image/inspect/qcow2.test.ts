import { MiB, TiB } from '../../../../../workflows/contract/bytes';
import {
  inspectBytes,
  patched,
  qcow2Image,
  type Field,
  type Qcow2Options,
} from '../../../../support/images/image-fixtures';

const CLUSTER = 65_536;
const L1 = 3 * CLUSTER;

interface Hostile {
  what: string;
  rule: string;
  offset?: number;
  options?: Qcow2Options;
  fields?: Field[];
}

const hostile: Hostile[] = [
  { what: 'version 4', rule: 'qcow2-version', offset: 4, fields: [[4, 'u32be', 4]] },
  { what: 'version 0', rule: 'qcow2-version', fields: [[4, 'u32be', 0]] },
  { what: 'a backing file', rule: 'qcow2-backing-file', offset: 8, fields: [[8, 'u64be', 1024], [16, 'u32be', 11], [1024, 'bytes', '/etc/passwd']] }, // prettier-ignore
  {
    what: 'a backing file in version 2',
    rule: 'qcow2-backing-file',
    options: { version: 2 },
    fields: [[8, 'u64be', 72]],
  },
  {
    what: 'a backing file offset beyond all bounds',
    rule: 'qcow2-backing-file',
    fields: [[8, 'u64be', 0xffff_ffff_ffff_ffffn]],
  },
  { what: 'an external data file', rule: 'qcow2-external-data-file', offset: 72, fields: [[72, 'u64be', 4]] },
  { what: 'the raw external data bit', rule: 'qcow2-external-data-file', offset: 88, fields: [[88, 'u64be', 2]] },
  {
    what: 'the name of a data file',
    rule: 'qcow2-external-data-file',
    options: { extensions: [{ type: 0x44415441, data: Buffer.from('/dev/sda') }] },
  },
  {
    what: 'the name of a data file in version 2',
    rule: 'qcow2-external-data-file',
    options: { version: 2, extensions: [{ type: 0x44415441, data: Buffer.from('/dev/sda') }] },
  },
  {
    what: 'the lowest unknown feature bit',
    rule: 'qcow2-incompatible-features',
    offset: 72,
    fields: [[72, 'u64be', 32]],
  },
  { what: 'the highest unknown feature bit', rule: 'qcow2-incompatible-features', fields: [[72, 'u64be', 1n << 63n]] },
  { what: 'the corrupt bit', rule: 'qcow2-marked-corrupt', fields: [[72, 'u64be', 2]] },
  { what: 'AES encryption', rule: 'encrypted', offset: 32, fields: [[32, 'u32be', 1]] },
  { what: 'LUKS encryption', rule: 'encrypted', fields: [[32, 'u32be', 2]] },
  {
    what: 'a LUKS header without its method',
    rule: 'encrypted',
    options: { extensions: [{ type: 0x0537be77, data: Buffer.alloc(16) }] },
  },
  { what: 'an unknown encryption', rule: 'qcow2-encryption-method', fields: [[32, 'u32be', 3]] },
  { what: 'clusters of 256 bytes', rule: 'qcow2-cluster-bits', offset: 20, fields: [[20, 'u32be', 8]] },
  { what: 'clusters of 4 MiB', rule: 'qcow2-cluster-bits', fields: [[20, 'u32be', 22]] },
  { what: 'cluster bits that wrap', rule: 'qcow2-cluster-bits', fields: [[20, 'u32be', 0xffffffff]] },
  {
    what: 'extended L2 entries in clusters of 8 KiB',
    rule: 'qcow2-cluster-bits',
    options: { clusterBits: 13 },
    fields: [[72, 'u64be', 16]],
  },
  {
    what: 'a header shorter than version 3 has',
    rule: 'qcow2-header-length',
    offset: 100,
    fields: [[100, 'u32be', 96]],
  },
  { what: 'a header longer than its cluster', rule: 'qcow2-header-length', fields: [[100, 'u32be', CLUSTER + 8]] },
  { what: 'an odd header length', rule: 'qcow2-header-length', fields: [[100, 'u32be', 107]] },
  { what: 'refcounts of 128 bits', rule: 'qcow2-refcount-order', offset: 96, fields: [[96, 'u32be', 7]] },
  { what: 'zstd without its bit', rule: 'qcow2-compression-type', offset: 104, fields: [[104, 'u8', 1]] },
  { what: 'the compression bit with zlib', rule: 'qcow2-compression-type', fields: [[72, 'u64be', 8]] },
  { what: 'an unknown compression', rule: 'qcow2-compression-type', fields: [[72, 'u64be', 8], [104, 'u8', 2]] }, // prettier-ignore
  { what: 'no size', rule: 'virtual-size-zero', offset: 24, fields: [[24, 'u64be', 0]] },
  { what: 'a size beyond the policy', rule: 'virtual-size-too-large', fields: [[24, 'u64be', 2 * TiB + 512]] },
  { what: 'a size that overflows', rule: 'virtual-size-overflow', fields: [[24, 'u64be', 0xffff_ffff_ffff_fe00n]] },
  { what: 'half a sector', rule: 'virtual-size-unaligned', fields: [[24, 'u64be', 256]] },
  { what: 'an L1 table too small for the size', rule: 'qcow2-l1-size', offset: 36, fields: [[24, 'u64be', TiB]] },
  { what: 'an L1 table beyond the cap', rule: 'qcow2-l1-size', fields: [[36, 'u32be', 4 * MiB + 1]] },
  { what: 'an L1 table beyond the file', rule: 'qcow2-l1-offset', offset: 40, fields: [[40, 'u64be', 1024 * CLUSTER]] },
  { what: 'an L1 table that ends beyond the file', rule: 'qcow2-l1-offset', fields: [[36, 'u32be', 100_000]] },
  { what: 'an L1 table off its alignment', rule: 'qcow2-l1-offset', fields: [[40, 'u64be', L1 + 512]] },
  { what: 'an L1 offset that overflows', rule: 'qcow2-l1-offset', fields: [[40, 'u64be', 0xffff_ffff_ffff_0000n]] },
  { what: 'an L1 table over the header', rule: 'qcow2-tables-overlap', fields: [[40, 'u64be', 0]] },
  { what: 'an L1 table over the refcount table', rule: 'qcow2-tables-overlap', fields: [[40, 'u64be', CLUSTER]] },
  { what: 'no refcount table', rule: 'qcow2-refcount-table', offset: 48, fields: [[56, 'u32be', 0]] },
  { what: 'a refcount table beyond its cap', rule: 'qcow2-refcount-table', fields: [[56, 'u32be', 129]] },
  { what: 'a refcount table beyond the file', rule: 'qcow2-refcount-table', fields: [[48, 'u64be', 1024 * CLUSTER]] },
  { what: 'a refcount table off its alignment', rule: 'qcow2-refcount-table', fields: [[48, 'u64be', CLUSTER + 8]] },
  { what: 'an extension that leaves the cluster', rule: 'qcow2-extension-out-of-bounds', offset: 112, fields: [[112, 'u32be', 0x11111111], [116, 'u32be', CLUSTER]] }, // prettier-ignore
  { what: 'an extension of 4 GiB', rule: 'qcow2-extension-out-of-bounds', fields: [[112, 'u32be', 1], [116, 'u32be', 0xffffffff]] }, // prettier-ignore
  { what: 'bitmaps twice', rule: 'qcow2-extension-repeated', options: { extensions: [bitmaps({}), bitmaps({})] } },
  {
    what: 'a bitmap directory beyond the file',
    rule: 'qcow2-bitmaps',
    options: { extensions: [bitmaps({ offset: 1024 * CLUSTER })] },
  },
  { what: 'bitmaps without number', rule: 'qcow2-bitmaps', options: { extensions: [bitmaps({ count: 0 })] } },
  {
    what: 'an endless bitmap directory',
    rule: 'qcow2-bitmaps',
    options: { extensions: [bitmaps({ bytes: 0xffff_ffff_ffff_ffffn })] },
  },
  { what: 'VM state', rule: 'qcow2-vm-state', options: { snapshots: [{}, { vmStateBytes: 1 }] } },
  { what: 'large VM state', rule: 'qcow2-vm-state', options: { snapshots: [{ largeVmStateBytes: 5 * 2 ** 32 }] } },
  {
    what: 'more snapshots than the policy has',
    rule: 'qcow2-snapshots',
    offset: 60,
    options: { snapshots: [{}] },
    fields: [[60, 'u32be', 1025]],
  },
  { what: 'an empty snapshot table off its alignment', rule: 'qcow2-snapshots', fields: [[64, 'u64be', 7]] },
  { what: 'an empty snapshot table beyond all bounds', rule: 'qcow2-snapshots', fields: [[64, 'u64be', 2n ** 63n]] },
  {
    what: 'an end marker longer than its cluster',
    rule: 'qcow2-extension-out-of-bounds',
    fields: [[116, 'u32be', CLUSTER]],
  },
  {
    what: 'snapshots beyond the file',
    rule: 'qcow2-snapshots',
    options: { snapshots: [{}] },
    fields: [[64, 'u64be', 1024 * CLUSTER]],
  },
  {
    what: 'snapshots that do not end with the file',
    rule: 'qcow2-snapshots',
    options: { snapshots: [{ extraBytes: 1025 }] },
  },
  {
    what: 'a snapshot’s L1 table beyond the file',
    rule: 'qcow2-snapshots',
    options: { snapshots: [{ l1Entries: 1_000_000 }] },
  },
  {
    what: 'a snapshot’s L1 table off its alignment',
    rule: 'qcow2-snapshots',
    options: { snapshots: [{ l1Offset: 7 }] },
  },
  {
    what: 'snapshots over the L1 table',
    rule: 'qcow2-tables-overlap',
    options: { snapshots: [{}] },
    fields: [[64, 'u64be', L1]],
  },
  { what: 'an L2 table beyond the file', rule: 'qcow2-l1-entry', offset: L1, fields: [[L1, 'u64be', 1024 * CLUSTER]] },
  { what: 'an L2 table off its alignment', rule: 'qcow2-l1-entry', fields: [[L1, 'u64be', CLUSTER + 512]] },
  { what: 'a reserved bit in an L1 entry', rule: 'qcow2-l1-entry', fields: [[L1, 'u64be', 1]] },
];

function bitmaps({ count = 1, bytes = 32 as number | bigint, offset = CLUSTER * 4 }) {
  const data = Buffer.alloc(24);
  return { type: 0x23852875, data: patched(data, [[0, 'u32be', count], [8, 'u64be', bytes], [16, 'u64be', offset]]) }; // prettier-ignore
}

describe('A qcow2', () => {
  it.each(hostile)('with $what is refused by $rule', async ({ rule, offset, options, fields = [] }) => {
    const verdict = await inspectBytes(patched(qcow2Image(options), fields), 'qcow2');
    expect(verdict).toMatchObject({ kind: 'refused', rule, ...(offset === undefined ? {} : { offset }) });
  });

  it.each<{ what: string; options?: Qcow2Options; fields?: Field[] }>([
    { what: 'zstd compression', fields: [[72, 'u64be', 8], [104, 'u8', 1]] }, // prettier-ignore
    { what: 'lazy refcounts, left dirty', fields: [[72, 'u64be', 1], [80, 'u64be', 1]] }, // prettier-ignore
    { what: 'unknown compatible and autoclear bits', fields: [[80, 'u64be', 1n << 40n], [88, 'u64be', 1n << 40n]] }, // prettier-ignore
    { what: 'bitmaps', options: { extensions: [bitmaps({})] } },
    {
      what: 'version 2 and a header extension',
      options: { version: 2, extensions: [{ type: 0x6803f857, data: Buffer.alloc(48, 1) }] },
    },
    { what: 'unknown extensions', options: { extensions: [1, 1, 2].map((type) => ({ type, data: Buffer.alloc(5) })) } },
    { what: 'a version 3 header of 104 bytes', fields: [[100, 'u32be', 104]] },
    { what: 'snapshots of the disk alone', options: { snapshots: [{}, { extraBytes: 0 }, { extraBytes: 24 }] } },
    { what: 'an L1 table larger than needed', fields: [[36, 'u32be', 8]] },
    { what: 'extended L2 entries in clusters of 16 KiB', options: { extendedL2: true, clusterBits: 14 } },
    { what: 'clusters of 512 bytes', options: { clusterBits: 9, virtualBytes: MiB } },
    { what: 'clusters of 2 MiB', options: { clusterBits: 21 } },
  ])('with $what is accepted', async ({ options, fields = [] }) => {
    expect(await inspectBytes(patched(qcow2Image(options), fields), 'qcow2')).toMatchObject({
      kind: 'accepted',
      format: 'qcow2',
    });
  });

  it('that is encrypted is let through where the policy says so', async () => {
    const luks = qcow2Image({ extensions: [{ type: 0x0537be77, data: patched(Buffer.alloc(16), [[0, 'u64be', CLUSTER * 4], [8, 'u64be', 592]]) }] }); // prettier-ignore
    expect(await inspectBytes(patched(luks, [[32, 'u32be', 2]]), 'qcow2', { allowEncrypted: true })).toMatchObject({
      kind: 'accepted',
      details: { encrypted: true },
    });
    expect(await inspectBytes(luks, 'qcow2', { allowEncrypted: true })).toMatchObject({
      rule: 'qcow2-encryption-method',
    });
  });
});
