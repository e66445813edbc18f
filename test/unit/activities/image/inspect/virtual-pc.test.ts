import { GiB, MiB } from '../../../../../workflows/contract/bytes';
import {
  judge,
  patched,
  vdiImage,
  vhdImage,
  vhdxImage,
  VHDX_BAT,
  VHDX_METADATA,
  withVhdChecksums,
  withVhdxChecksums,
  type Field,
  type VdiOptions,
  type VhdOptions,
  type VhdxOptions,
} from '../../../../support/image-fixtures';

interface Hostile<Options> {
  what: string;
  rule: string;
  options?: Options;
  fields?: Field[];
}

/** Footer and its copy, in a dynamic disk of 16 MiB without blocks. */
const vhdTail = vhdImage().length - 512;
const both = (offset: number, kind: 'u32be' | 'u64be', value: number | bigint): Field[] => [[offset, kind, value], [vhdTail + offset, kind, value]]; // prettier-ignore

describe('A VHD', () => {
  it.each<Hostile<VhdOptions>>([
    { what: 'another version', rule: 'vhd-footer', fields: both(12, 'u32be', 0x20000) },
    { what: 'two footers that differ', rule: 'vhd-footer', fields: [[8, 'u32be', 3]] },
    { what: 'no footer at its end', rule: 'vhd-footer', fields: [[vhdTail, 'bytes', Buffer.alloc(512)]] },
    { what: 'a parent', rule: 'vhd-parent', fields: both(60, 'u32be', 4) },
    { what: 'the UUID of a parent', rule: 'vhd-parent', fields: [[512 + 40, 'u8', 1]] },
    { what: 'the name of a parent', rule: 'vhd-parent', fields: [[512 + 64, 'bytes', '\0b\0a\0s\0e']] },
    { what: 'a parent locator', rule: 'vhd-parent', fields: [[512 + 576, 'bytes', 'W2ru']] },
    { what: 'another type', rule: 'vhd-type', fields: both(60, 'u32be', 5) },
    { what: 'a fixed type over dynamic blocks', rule: 'vhd-footer', fields: both(60, 'u32be', 2) },
    { what: 'no size', rule: 'virtual-size-zero', fields: both(48, 'u64be', 0) },
    { what: 'a size that overflows', rule: 'virtual-size-overflow', fields: both(48, 'u64be', 2n ** 63n) },
    { what: 'a size beyond the policy', rule: 'virtual-size-too-large', fields: both(48, 'u64be', 4 * GiB) },
    { what: 'half a sector', rule: 'virtual-size-unaligned', fields: both(48, 'u64be', 256) },
    { what: 'a dynamic header beyond the file', rule: 'vhd-dynamic-header', fields: both(16, 'u64be', 2n ** 40n) },
    { what: 'a dynamic header over the footer', rule: 'vhd-dynamic-header', fields: both(16, 'u64be', 0) },
    { what: 'another dynamic version', rule: 'vhd-dynamic-header', fields: [[512 + 24, 'u32be', 1]] },
    { what: 'blocks of 3 MiB', rule: 'vhd-block-size', fields: [[512 + 32, 'u32be', 3 * MiB]] },
    { what: 'blocks of nothing', rule: 'vhd-block-size', fields: [[512 + 32, 'u32be', 0]] },
    { what: 'blocks of 2 GiB', rule: 'vhd-block-size', fields: [[512 + 32, 'u32be', 2 * GiB]] },
    { what: 'a table too small', rule: 'vhd-table', fields: [[512 + 28, 'u32be', 7]] },
    { what: 'a table beyond the cap', rule: 'vhd-table', fields: [[512 + 28, 'u32be', 0xffffffff]] },
    { what: 'a table beyond the file', rule: 'vhd-table', fields: [[512 + 16, 'u64be', 2n ** 40n]] },
    { what: 'a block beyond the file', rule: 'vhd-blocks', fields: [[1536, 'u32be', 0xfffffffe]] },
    { what: 'a block over the footer', rule: 'vhd-blocks', options: { blocks: [4] }, fields: [[1536, 'u32be', 0]] },
    { what: 'a shared block', rule: 'vhd-blocks', options: { blocks: [4, 4] } },
    { what: 'blocks that overlap', rule: 'vhd-blocks', options: { blocks: [4, 1000] } },
  ])('with $what is refused by $rule', async ({ rule, options, fields = [] }) => {
    const image = withVhdChecksums(patched(vhdImage(options), fields));
    expect(await judge(image, 'vhd', { maxVirtualBytes: GiB })).toMatchObject({ kind: 'refused', rule });
  });

  it('with a wrong checksum is refused', async () => {
    expect(await judge(patched(vhdImage(), [[70, 'u8', 1]]), 'vhd')).toMatchObject({ rule: 'vhd-footer', offset: 0 });
    expect(await judge(patched(vhdImage(), [[512 + 800, 'u8', 1]]), 'vhd')).toMatchObject({ rule: 'vhd-dynamic-header' });
  });

  it('that is fixed has the size of its file without the footer', async () => {
    const image = vhdImage({ type: 'fixed' });
    expect(await judge(image, 'vhd')).toMatchObject({ kind: 'accepted', virtualSizeBytes: 16 * MiB, details: { type: 'fixed' } });
    expect(await judge(image.subarray(512), 'vhd')).toMatchObject({ rule: 'vhd-size' });
  });

  it('with blocks of its own each is accepted', async () => {
    expect(await judge(vhdImage({ blocks: [4, undefined, 4101] }), 'vhd')).toMatchObject({ kind: 'accepted', details: { type: 'dynamic' } });
  });
});

const present = (mebibyte: number): bigint => (BigInt(mebibyte) << 20n) | 6n;
const otherGuid = 'aa'.repeat(16);
const HEADER = 65_536;
const REGIONS = 196_608;
const bothTables = (offset: number, kind: 'u32le' | 'u64le', value: number | bigint): Field[] => [[REGIONS + offset, kind, value], [REGIONS + 65_536 + offset, kind, value]]; // prettier-ignore
const bothHeaders = (offset: number, kind: 'u16le' | 'u8' | 'u64le', value: number): Field[] => [[HEADER + offset, kind, value], [HEADER * 2 + offset, kind, value]]; // prettier-ignore

describe('A VHDX', () => {
  it.each<Hostile<VhdxOptions>>([
    { what: 'no valid header', rule: 'vhdx-header', fields: [[HEADER, 'u8', 0], [HEADER * 2, 'u8', 0]] }, // prettier-ignore
    { what: 'another version', rule: 'vhdx-header', fields: bothHeaders(66, 'u16le', 2) },
    { what: 'a log to replay', rule: 'vhdx-log', fields: bothHeaders(48, 'u8', 1) },
    { what: 'no region table', rule: 'vhdx-region-table', fields: [[REGIONS, 'u8', 0]] },
    { what: 'two region tables that differ', rule: 'vhdx-region-table', fields: [[REGIONS + 65_536 + 1000, 'u8', 1]] },
    { what: 'too many regions', rule: 'vhdx-region-table', fields: bothTables(8, 'u32le', 2048) },
    { what: 'one region', rule: 'vhdx-region-table', fields: bothTables(8, 'u32le', 1) },
    { what: 'a region beyond the file', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', 2n ** 40n) },
    { what: 'a region off its alignment', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', VHDX_BAT + 512) },
    { what: 'a region over the headers', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', 0) },
    { what: 'a region over the log', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', MiB) },
    { what: 'regions that overlap', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', VHDX_METADATA) },
    { what: 'an unknown required region', rule: 'vhdx-region-table', fields: [...bothTables(8, 'u32le', 3), ...bothTables(80 + 28, 'u32le', 1)] },
    { what: 'no metadata', rule: 'vhdx-metadata', fields: [[VHDX_METADATA, 'u8', 0]] },
    { what: 'too many items', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 10, 'u16le', 2048]] },
    { what: 'an item missing', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 10, 'u16le', 4]] },
    { what: 'an unknown required item', rule: 'vhdx-metadata', options: { extraItems: [{ guid: otherGuid, offset: 66_000, value: Buffer.alloc(4) }] } },
    { what: 'an item twice', rule: 'vhdx-metadata', options: { extraItems: [0, 0].map(() => ({ guid: otherGuid, offset: 66_000, value: Buffer.alloc(4), flags: 0 })) } },
    { what: 'an item over the table', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 32 + 16, 'u32le', 0]] },
    { what: 'an item beyond its region', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 32 + 16, 'u32le', 0xfffffff0]] },
    { what: 'an item of another length', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 64 + 20, 'u32le', 4]] },
    { what: 'a parent locator', rule: 'vhdx-parent', options: { extraItems: [{ guid: '2d5fd3a80bb34d45abf7d3d84834ab0c', offset: 66_000, value: Buffer.alloc(20) }] } },
    { what: 'a parent', rule: 'vhdx-parent', options: { parameterFlags: 2 } },
    { what: 'no size', rule: 'virtual-size-zero', options: { virtualBytes: 0 } },
    { what: 'a size beyond the policy', rule: 'virtual-size-too-large', options: { virtualBytes: 4 * GiB } },
    { what: 'blocks of 3 MiB', rule: 'vhdx-block-size', options: { blockBytes: 3 * MiB } },
    { what: 'blocks of nothing', rule: 'vhdx-block-size', options: { blockBytes: 0 } },
    { what: 'blocks of 512 MiB', rule: 'vhdx-block-size', options: { blockBytes: 512 * MiB } },
    { what: 'sectors of 4 KiB', rule: 'vhdx-sector-size', options: { logicalSectorBytes: 4096 } },
    { what: 'half a sector', rule: 'virtual-size-unaligned', options: { virtualBytes: 1000 } },
    { what: 'a block beyond the file', rule: 'vhdx-blocks', options: { bat: [present(1000)] } },
    { what: 'a block over the headers', rule: 'vhdx-blocks', options: { bat: [present(0)], fileBytes: 12 * MiB } },
    { what: 'a shared block', rule: 'vhdx-blocks', options: { bat: [present(4), present(4)], fileBytes: 12 * MiB } },
    { what: 'blocks that overlap', rule: 'vhdx-blocks', options: { bat: [present(4), present(11)], fileBytes: 32 * MiB } },
    { what: 'a block that a parent completes', rule: 'vhdx-blocks', options: { bat: [(4n << 20n) | 7n], fileBytes: 12 * MiB } },
    { what: 'a block in a reserved state', rule: 'vhdx-blocks', options: { bat: [4n], fileBytes: 12 * MiB } },
  ])('with $what is refused by $rule', async ({ rule, options, fields = [] }) => {
    const image = patched(vhdxImage(options), fields);
    expect(await judge(withVhdxChecksums(image), 'vhdx', { maxVirtualBytes: GiB })).toMatchObject({ kind: 'refused', rule });
  });

  it('with a table too small for its disk is refused', async () => {
    const options = { virtualBytes: 1024 * GiB, blockBytes: MiB, batBytes: MiB };
    expect(await judge(vhdxImage(options), 'vhdx')).toMatchObject({ rule: 'vhdx-table' });
    expect(await judge(vhdxImage({ batBytes: 2 * MiB }), 'vhdx', { maxTableBytes: MiB })).toMatchObject({ rule: 'vhdx-table' });
  });

  it('is judged by its newer valid header', async () => {
    const [older, newer]: Field[] = bothHeaders(48, 'u8', 1);
    expect(await judge(withVhdxChecksums(patched(vhdxImage(), older ? [older] : [])), 'vhdx')).toMatchObject({ kind: 'accepted' });
    expect(await judge(withVhdxChecksums(patched(vhdxImage(), newer ? [newer] : [])), 'vhdx')).toMatchObject({ rule: 'vhdx-log' });
    expect(await judge(patched(vhdxImage(), newer ? [newer] : []), 'vhdx')).toMatchObject({ kind: 'accepted' });
  });

  it('with blocks of its own each is accepted', async () => {
    const bat = [present(4), 0n, 3n, present(12)];
    expect(await judge(vhdxImage({ bat, fileBytes: 20 * MiB }), 'vhdx')).toMatchObject({ kind: 'accepted', virtualSizeBytes: 64 * MiB });
  });
});

describe('A VDI', () => {
  it.each<Hostile<VdiOptions>>([
    { what: 'version 1.0', rule: 'vdi-version', fields: [[0x44, 'u32le', 0x10000]] },
    { what: 'a header without end', rule: 'vdi-version', fields: [[0x48, 'u32le', 0xffffffff]] },
    { what: 'a parent', rule: 'vdi-parent', fields: [[0x1b8, 'u8', 1]] },
    { what: 'a link', rule: 'vdi-parent', fields: [[0x1a8, 'u8', 1]] },
    { what: 'type undo', rule: 'vdi-type', options: { type: 3 } },
    { what: 'type differencing', rule: 'vdi-type', options: { type: 4 } },
    { what: 'no size', rule: 'virtual-size-zero', fields: [[0x170, 'u64le', 0]] },
    { what: 'a size beyond the policy', rule: 'virtual-size-too-large', fields: [[0x170, 'u64le', 2n ** 45n]] },
    { what: 'a size that overflows', rule: 'virtual-size-overflow', fields: [[0x170, 'u64le', 0xffff_ffff_ffff_ffffn]] },
    { what: 'blocks of 2 MiB', rule: 'vdi-block-size', fields: [[0x178, 'u32le', 2 * MiB]] },
    { what: 'extra data in its blocks', rule: 'vdi-block-size', fields: [[0x17c, 'u32le', 512]] },
    { what: 'sectors of 4 KiB', rule: 'vdi-block-size', fields: [[0x168, 'u32le', 4096]] },
    { what: 'too few blocks', rule: 'vdi-table', fields: [[0x180, 'u32le', 7]] },
    { what: 'more allocated blocks than blocks', rule: 'vdi-table', fields: [[0x184, 'u32le', 9]] },
    { what: 'a map beyond the cap', rule: 'vdi-table', fields: [[0x180, 'u32le', 0x3fffffff]] },
    { what: 'a map beyond the file', rule: 'vdi-table', fields: [[0x154, 'u32le', 0x7ffffe00], [0x158, 'u32le', 0xfffffe00]] }, // prettier-ignore
    { what: 'a map over the header', rule: 'vdi-table', fields: [[0x154, 'u32le', 0]] },
    { what: 'a map off its alignment', rule: 'vdi-table', fields: [[0x154, 'u32le', 513]] },
    { what: 'data over the map', rule: 'vdi-table', fields: [[0x158, 'u32le', 512]] },
    { what: 'a block beyond the file', rule: 'vdi-blocks', fields: [[512, 'u32le', 0xfffffffd]] },
    { what: 'a shared block', rule: 'vdi-blocks', options: { map: [0, 0] } },
  ])('with $what is refused by $rule', async ({ rule, options, fields = [] }) => {
    expect(await judge(patched(vdiImage(options), fields), 'vdi')).toMatchObject({ kind: 'refused', rule });
  });

  it('of an odd size is rounded up to a sector', async () => {
    expect(await judge(patched(vdiImage(), [[0x170, 'u64le', 8 * MiB - 100]]), 'vdi')).toMatchObject({ kind: 'accepted', virtualSizeBytes: 8 * MiB });
  });
});
