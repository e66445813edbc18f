import { GiB, MiB } from '../../../../../workflows/contract/bytes';
import {
  inspectBytes,
  patched,
  vhdImage,
  withVhdChecksums,
  type Field,
  type VhdOptions,
} from '../../../../support/images/image-fixtures';

interface Hostile {
  what: string;
  rule: string;
  options?: VhdOptions;
  fields?: Field[];
}

/** Footer and its copy, in a dynamic disk of 16 MiB without blocks. */
const vhdTail = vhdImage().length - 512;
const both = (offset: number, kind: 'u32be' | 'u64be', value: number | bigint): Field[] => [[offset, kind, value], [vhdTail + offset, kind, value]]; // prettier-ignore

describe('A VHD', () => {
  it.each<Hostile>([
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
    expect(await inspectBytes(image, 'vhd', { maxVirtualBytes: GiB })).toMatchObject({ kind: 'refused', rule });
  });

  it('with a wrong checksum is refused', async () => {
    expect(await inspectBytes(patched(vhdImage(), [[70, 'u8', 1]]), 'vhd')).toMatchObject({
      rule: 'vhd-footer',
      offset: 0,
    });
    expect(await inspectBytes(patched(vhdImage(), [[512 + 800, 'u8', 1]]), 'vhd')).toMatchObject({
      rule: 'vhd-dynamic-header',
    });
  });

  it('that is fixed has the size of its file without the footer', async () => {
    const image = vhdImage({ type: 'fixed' });
    expect(await inspectBytes(image, 'vhd')).toMatchObject({
      kind: 'accepted',
      virtualSizeBytes: 16 * MiB,
      details: { type: 'fixed' },
    });
    expect(await inspectBytes(image.subarray(512), 'vhd')).toMatchObject({ rule: 'vhd-size' });
  });

  it.each(['win ', 'vbox', 'wa\0\0', 'wa  ', 'd2v ', 'vs  ', 'vmmt', 'kiwi', 'tap\0', 'CTXS', 'qem2', '\0\0\0\0'])(
    'by %j has the size that its footer says',
    async (creator) => {
      for (const type of ['fixed', 'dynamic'] as const)
        expect(await inspectBytes(vhdImage({ type, creator }), 'vhd')).toMatchObject({
          kind: 'accepted',
          virtualSizeBytes: 16 * MiB,
        });
    },
  );

  it.each(['vpc ', 'qemu'])('by %j has the size of its geometry, unless that is the largest', async (creator) => {
    for (const type of ['fixed', 'dynamic'] as const) {
      const image = vhdImage({ type, creator });
      const virtualSizeBytes = 100 * 4 * 17 * 512;
      expect(await inspectBytes(image, 'vhd')).toMatchObject({ kind: 'accepted', virtualSizeBytes });
      const tail = image.length - 512;
      const largest = [0, tail].flatMap((at): Field[] => [[at + 56, 'u32be', 0xffff10ff]]);
      expect(
        await inspectBytes(withVhdChecksums(patched(image, type === 'fixed' ? largest.slice(1) : largest)), 'vhd'),
      ).toMatchObject({ kind: 'accepted', virtualSizeBytes: 16 * MiB });
    }
  });

  it('with blocks of its own each is accepted', async () => {
    expect(await inspectBytes(vhdImage({ blocks: [4, undefined, 4101] }), 'vhd')).toMatchObject({
      kind: 'accepted',
      details: { type: 'dynamic' },
    });
  });
});
