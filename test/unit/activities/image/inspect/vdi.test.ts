import { MiB } from '../../../../../workflows/contract/bytes';
import {
  inspectBytes,
  patched,
  vdiImage,
  type Field,
  type VdiOptions,
} from '../../../../support/images/image-fixtures';

interface Hostile {
  what: string;
  rule: string;
  options?: VdiOptions;
  fields?: Field[];
}

describe('A VDI', () => {
  it.each<Hostile>([
    { what: 'version 1.0', rule: 'vdi-version', fields: [[0x44, 'u32le', 0x10000]] },
    { what: 'a header without end', rule: 'vdi-version', fields: [[0x48, 'u32le', 0xffffffff]] },
    { what: 'a parent', rule: 'vdi-parent', fields: [[0x1b8, 'u8', 1]] },
    { what: 'a link', rule: 'vdi-parent', fields: [[0x1a8, 'u8', 1]] },
    { what: 'type undo', rule: 'vdi-type', options: { type: 3 } },
    { what: 'type differencing', rule: 'vdi-type', options: { type: 4 } },
    { what: 'no size', rule: 'virtual-size-zero', fields: [[0x170, 'u64le', 0]] },
    { what: 'a size beyond the policy', rule: 'virtual-size-too-large', fields: [[0x170, 'u64le', 2n ** 45n]] },
    {
      what: 'a size that overflows',
      rule: 'virtual-size-overflow',
      fields: [[0x170, 'u64le', 0xffff_ffff_ffff_ffffn]],
    },
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
    expect(await inspectBytes(patched(vdiImage(options), fields), 'vdi')).toMatchObject({ kind: 'refused', rule });
  });

  it('of an odd size is rounded up to a sector', async () => {
    expect(await inspectBytes(patched(vdiImage(), [[0x170, 'u64le', 8 * MiB - 100]]), 'vdi')).toMatchObject({
      kind: 'accepted',
      virtualSizeBytes: 8 * MiB,
    });
  });
});
