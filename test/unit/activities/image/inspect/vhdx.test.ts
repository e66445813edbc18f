import { GiB, MiB } from '../../../../../workflows/contract/bytes';
import {
  inspectBytes,
  patched,
  VHDX_BAT,
  VHDX_METADATA,
  vhdxImage,
  withVhdxChecksums,
  type Field,
  type VhdxOptions,
} from '../../../../support/images/image-fixtures';

interface Hostile {
  what: string;
  rule: string;
  options?: VhdxOptions;
  fields?: Field[];
}

const present = (mebibyte: number): bigint => (BigInt(mebibyte) << 20n) | 6n;
const otherGuid = 'aa'.repeat(16);
const HEADER = 65_536;
const REGIONS = 196_608;
const bothTables = (offset: number, kind: 'u32le' | 'u64le', value: number | bigint): Field[] => [[REGIONS + offset, kind, value], [REGIONS + 65_536 + offset, kind, value]]; // prettier-ignore
const bothHeaders = (offset: number, kind: 'u16le' | 'u8' | 'u64le', value: number): Field[] => [[HEADER + offset, kind, value], [HEADER * 2 + offset, kind, value]]; // prettier-ignore

describe('A VHDX', () => {
  it.each<Hostile>([
    { what: 'no valid header', rule: 'vhdx-header', fields: [[HEADER, 'u8', 0], [HEADER * 2, 'u8', 0]] }, // prettier-ignore
    { what: 'another version', rule: 'vhdx-header', fields: bothHeaders(66, 'u16le', 2) },
    { what: 'a log to replay', rule: 'vhdx-log', fields: bothHeaders(48, 'u8', 1) },
    { what: 'no region table', rule: 'vhdx-region-table', fields: [[REGIONS, 'u8', 0]] },
    { what: 'two region tables that differ', rule: 'vhdx-region-table', fields: [[REGIONS + 65_536 + 1000, 'u8', 1]] },
    { what: 'too many regions', rule: 'vhdx-region-table', fields: bothTables(8, 'u32le', 2048) },
    { what: 'one region', rule: 'vhdx-region-table', fields: bothTables(8, 'u32le', 1) },
    { what: 'a region beyond the file', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', 2n ** 40n) },
    {
      what: 'a region off its alignment',
      rule: 'vhdx-region-table',
      fields: bothTables(16 + 16, 'u64le', VHDX_BAT + 512),
    },
    { what: 'a region over the headers', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', 0) },
    { what: 'a region over the log', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', MiB) },
    { what: 'regions that overlap', rule: 'vhdx-region-table', fields: bothTables(16 + 16, 'u64le', VHDX_METADATA) },
    {
      what: 'an unknown required region',
      rule: 'vhdx-region-table',
      fields: [...bothTables(8, 'u32le', 3), ...bothTables(80 + 28, 'u32le', 1)],
    },
    { what: 'no metadata', rule: 'vhdx-metadata', fields: [[VHDX_METADATA, 'u8', 0]] },
    { what: 'too many items', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 10, 'u16le', 2048]] },
    { what: 'an item missing', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 10, 'u16le', 4]] },
    {
      what: 'an unknown required item',
      rule: 'vhdx-metadata',
      options: { extraItems: [{ guid: otherGuid, offset: 66_000, value: Buffer.alloc(4) }] },
    },
    {
      what: 'an item twice',
      rule: 'vhdx-metadata',
      options: {
        extraItems: [0, 0].map(() => ({ guid: otherGuid, offset: 66_000, value: Buffer.alloc(4), flags: 0 })),
      },
    },
    { what: 'an item over the table', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 32 + 16, 'u32le', 0]] },
    {
      what: 'an item beyond its region',
      rule: 'vhdx-metadata',
      fields: [[VHDX_METADATA + 32 + 16, 'u32le', 0xfffffff0]],
    },
    { what: 'an item of another length', rule: 'vhdx-metadata', fields: [[VHDX_METADATA + 64 + 20, 'u32le', 4]] },
    {
      what: 'a parent locator',
      rule: 'vhdx-parent',
      options: { extraItems: [{ guid: '2d5fd3a80bb34d45abf7d3d84834ab0c', offset: 66_000, value: Buffer.alloc(20) }] },
    },
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
    {
      what: 'blocks that overlap',
      rule: 'vhdx-blocks',
      options: { bat: [present(4), present(11)], fileBytes: 32 * MiB },
    },
    {
      what: 'a block that a parent completes',
      rule: 'vhdx-blocks',
      options: { bat: [(4n << 20n) | 7n], fileBytes: 12 * MiB },
    },
    { what: 'a block in a reserved state', rule: 'vhdx-blocks', options: { bat: [4n], fileBytes: 12 * MiB } },
  ])('with $what is refused by $rule', async ({ rule, options, fields = [] }) => {
    const image = patched(vhdxImage(options), fields);
    expect(await inspectBytes(withVhdxChecksums(image), 'vhdx', { maxVirtualBytes: GiB })).toMatchObject({
      kind: 'refused',
      rule,
    });
  });

  it('with a table too small for its disk is refused', async () => {
    const options = { virtualBytes: 1024 * GiB, blockBytes: MiB, batBytes: MiB };
    expect(await inspectBytes(vhdxImage(options), 'vhdx')).toMatchObject({ rule: 'vhdx-table' });
    expect(await inspectBytes(vhdxImage({ batBytes: 2 * MiB }), 'vhdx', { maxTableBytes: MiB })).toMatchObject({
      rule: 'vhdx-table',
    });
  });

  it('is judged by its newer valid header', async () => {
    const [older, newer]: Field[] = bothHeaders(48, 'u8', 1);
    expect(await inspectBytes(withVhdxChecksums(patched(vhdxImage(), older ? [older] : [])), 'vhdx')).toMatchObject({
      kind: 'accepted',
    });
    expect(await inspectBytes(withVhdxChecksums(patched(vhdxImage(), newer ? [newer] : [])), 'vhdx')).toMatchObject({
      rule: 'vhdx-log',
    });
    expect(await inspectBytes(patched(vhdxImage(), newer ? [newer] : []), 'vhdx')).toMatchObject({ kind: 'accepted' });
  });

  it('with blocks of its own each is accepted', async () => {
    const bat = [present(4), 0n, 3n, present(12)];
    expect(await inspectBytes(vhdxImage({ bat, fileBytes: 20 * MiB }), 'vhdx')).toMatchObject({
      kind: 'accepted',
      virtualSizeBytes: 64 * MiB,
    });
  });
});
