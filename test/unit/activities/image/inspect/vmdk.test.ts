import {
  inspectBytes,
  patched,
  vmdkDescriptor,
  vmdkImage,
  type Field,
  type VmdkOptions,
} from '../../../../support/images/image-fixtures';

const GRAIN_DIRECTORY = 21 * 512;
const text = vmdkDescriptor();

interface Hostile {
  what: string;
  rule: string;
  options?: VmdkOptions;
  fields?: Field[];
}

const hostile: Hostile[] = [
  { what: 'version 4', rule: 'vmdk-version', fields: [[4, 'u32le', 4]] },
  {
    what: 'no capacity, which would open what the descriptor names',
    rule: 'virtual-size-zero',
    fields: [[12, 'u64le', 0]],
  },
  { what: 'a capacity beyond the policy', rule: 'virtual-size-too-large', fields: [[12, 'u64le', 2 ** 33]] },
  { what: 'a capacity that overflows', rule: 'virtual-size-overflow', fields: [[12, 'u64le', 2n ** 63n]] },
  { what: 'broken newlines', rule: 'vmdk-header', fields: [[73, 'u8', 0x0d]] },
  { what: 'compression without markers', rule: 'vmdk-header', fields: [[77, 'u16le', 1]] },
  { what: 'an unknown compression', rule: 'vmdk-header', options: { stream: true }, fields: [[77, 'u16le', 2]] },
  { what: 'no grain size', rule: 'vmdk-geometry', fields: [[20, 'u64le', 0]] },
  { what: 'grains of 3 sectors', rule: 'vmdk-geometry', fields: [[20, 'u64le', 3]] },
  { what: 'grains of 1 GiB', rule: 'vmdk-geometry', fields: [[20, 'u64le', 2 ** 21]] },
  { what: 'no grains a table', rule: 'vmdk-geometry', fields: [[44, 'u32le', 0]] },
  { what: 'a descriptor elsewhere', rule: 'vmdk-descriptor-out-of-bounds', fields: [[28, 'u64le', 2]] },
  { what: 'no descriptor', rule: 'vmdk-descriptor-out-of-bounds', fields: [[28, 'u64le', 0]] },
  { what: 'a descriptor of no size', rule: 'vmdk-descriptor-out-of-bounds', fields: [[36, 'u64le', 0]] },
  { what: 'a descriptor beyond the file', rule: 'vmdk-descriptor-out-of-bounds', fields: [[36, 'u64le', 2n ** 60n]] },
  { what: 'grains beyond the file', rule: 'vmdk-tables', fields: [[64, 'u64le', 2 ** 20]] },
  { what: 'a grain directory beyond the file', rule: 'vmdk-tables', fields: [[56, 'u64le', 2 ** 20]] },
  { what: 'a grain directory over the header', rule: 'vmdk-tables', fields: [[56, 'u64le', 0]] },
  { what: 'a redundant grain directory beyond the file', rule: 'vmdk-tables', fields: [[8, 'u32le', 3], [48, 'u64le', 2n ** 52n]] }, // prettier-ignore
  { what: 'a grain table beyond the file', rule: 'vmdk-tables', fields: [[GRAIN_DIRECTORY, 'u32le', 0xffffffff]] },
  { what: 'a shared grain table', rule: 'vmdk-tables', fields: [[GRAIN_DIRECTORY + 4, 'u32le', 22]] },
  ...['monolithicFlat', 'twoGbMaxExtentSparse', 'vmfsSparse', 'streamOptimized', 'custom', ''].map((type) => ({
    what: `createType ${type}`,
    rule: 'vmdk-subformat',
    options: { descriptor: text.replace('monolithicSparse', type) },
  })),
  {
    what: 'compressed grains declared monolithicSparse',
    rule: 'vmdk-subformat',
    options: { stream: true, descriptor: text },
  },
  {
    what: 'a parent by its name',
    rule: 'vmdk-parent',
    options: { descriptor: vmdkDescriptor({ extra: 'parentFileNameHint="/etc/passwd"' }) },
  },
  {
    what: 'a parent in a comment, where QEMU finds it too',
    rule: 'vmdk-parent',
    options: { descriptor: vmdkDescriptor({ extra: '# parentFileNameHint="/etc/passwd"' }) },
  },
  {
    what: 'a parent by its id',
    rule: 'vmdk-parent',
    options: { descriptor: text.replace('parentCID=ffffffff', 'parentCID=12345678') },
  },
  {
    what: 'no word on a parent',
    rule: 'vmdk-parent',
    options: { descriptor: text.replace('parentCID=ffffffff\n', '') },
  },
  {
    what: 'an extent with a path',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ name: '/dev/sda' }) },
  },
  { what: 'an extent above', rule: 'vmdk-extents', options: { descriptor: vmdkDescriptor({ name: '..' }) } },
  {
    what: 'an extent on Windows',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ name: '..\\x.vmdk' }) },
  },
  {
    what: 'an extent by a protocol',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ name: 'nbd:localhost' }) },
  },
  {
    what: 'two extents',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ extra: 'RW 8 SPARSE "b.vmdk"' }) },
  },
  { what: 'no extent', rule: 'vmdk-extents', options: { descriptor: text.replace(/^RW.*$/m, '') } },
  {
    what: 'a flat extent',
    rule: 'vmdk-extents',
    options: { descriptor: text.replace(/^RW.*$/m, 'RW 131072 FLAT "disk.vmdk" 0') },
  },
  {
    what: 'an extent of another size',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ capacitySectors: 4096 }) },
  },
  {
    what: 'a line nobody knows',
    rule: 'vmdk-descriptor',
    options: { descriptor: vmdkDescriptor({ extra: 'include /etc/passwd' }) },
  },
  {
    what: 'a key twice',
    rule: 'vmdk-descriptor',
    options: { descriptor: vmdkDescriptor({ extra: 'CREATETYPE="monolithicFlat"' }) },
  },
  ...['parentCID=ffffffff', 'parentCID=12345678', 'CID=fffffffe', 'version=1'].map((line) => ({
    what: `a second ${line}`,
    rule: 'vmdk-descriptor',
    options: { descriptor: vmdkDescriptor({ extra: line }) },
  })),
  ...['version=5', 'version=1é', 'version=', 'version=1 2'].map((line) => ({
    what: line,
    rule: 'vmdk-descriptor',
    options: { descriptor: text.replace('version=1', line) },
  })),
  {
    what: 'a CID that is none',
    rule: 'vmdk-descriptor',
    options: { descriptor: text.replace('CID=fffffffe', 'CID=/etc/passwd') },
  },
  {
    what: 'a createType in other letters',
    rule: 'vmdk-descriptor',
    options: { descriptor: text.replace('monolithicSparse', 'monolithicSpärse') },
  },
  {
    what: 'an extent above in another encoding',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ name: 'é\\x.vmdk', extra: 'encoding="UTF-8"' }) },
  },
  {
    what: 'an extent below in a Chinese encoding',
    rule: 'vmdk-extents',
    options: { descriptor: vmdkDescriptor({ name: '\x95\\\\x.vmdk', extra: 'encoding="GBK"' }) },
  },
  {
    what: 'bytes that are not text',
    rule: 'vmdk-descriptor',
    options: { descriptor: vmdkDescriptor({ extra: 'a="\x01"' }) },
  },
];

describe('A VMDK', () => {
  it.each(hostile)('with $what is refused by $rule', async ({ rule, options, fields = [] }) => {
    expect(await inspectBytes(patched(vmdkImage(options), fields), 'vmdk')).toMatchObject({ kind: 'refused', rule });
  });

  it.each([
    ['a descriptor in Windows lines', { descriptor: text.replaceAll('\n', '\r\n') }],
    [
      'an encoding and a change track',
      { descriptor: vmdkDescriptor({ extra: 'encoding="UTF-8"\nisNativeSnapshot="no"' }) },
    ],
    ['names and comments in UTF-8', { descriptor: vmdkDescriptor({ name: 'Übung 磁盘.vmdk', extra: '# für Ämter\nencoding="UTF-8"\nddb.comment = "größer"' }) }], // prettier-ignore
    ['a toolsVersion that stands twice', { descriptor: vmdkDescriptor({ extra: 'ddb.toolsVersion = "2147483647"\nddb.toolsVersion = "0"' }) }], // prettier-ignore
    ['a comment that is not quoted', { descriptor: vmdkDescriptor({ extra: 'ddb.comment = built by "an image builder"' }) }], // prettier-ignore
    ['version 3', { descriptor: text.replace('version=1', 'version=3') }],
    ['capital letters', { descriptor: text.replace('monolithicSparse', 'MONOLITHICSPARSE') }],
  ])('with %s is accepted', async (_, options) => {
    expect(await inspectBytes(vmdkImage(options), 'vmdk')).toMatchObject({
      kind: 'accepted',
      details: { subformat: 'monolithicSparse' },
    });
  });

  it.each([
    ['windows-1252', Buffer.from('\xdcbung.vmdk', 'latin1')],
    // The second byte of the second character looks like a backslash.
    ['GBK', Buffer.from('b4c5955c2e766d646b', 'hex')],
    ['Shift_JIS', Buffer.from('835c2e766d646b', 'hex')],
  ])('with a name in %s is accepted', async (encoding, name) => {
    const before = vmdkDescriptor({ name: 'NAME', extra: `encoding="${encoding}"` });
    const [start = '', end = ''] = before.split('NAME');
    const descriptor = Buffer.concat([Buffer.from(start), name, Buffer.from(end)]);
    const image = vmdkImage({ descriptor: '' });
    expect(await inspectBytes(patched(image, [[512, 'bytes', descriptor]]), 'vmdk')).toMatchObject({
      kind: 'accepted',
    });
  });

  it('that ends in the middle of its tables is refused', async () => {
    expect(await inspectBytes(vmdkImage().subarray(0, 22 * 512), 'vmdk')).toMatchObject({ kind: 'refused' });
    expect(await inspectBytes(vmdkImage().subarray(0, 100), 'vmdk')).toMatchObject({ rule: 'file-truncated' });
  });

  it('whose grains are shared to write a large disk is refused', async () => {
    const image = vmdkImage({ capacitySectors: 2 ** 23 });
    const table = image.readUInt32LE(GRAIN_DIRECTORY) * 512;
    const bomb = patched(
      image,
      Array.from({ length: 512 }, (_, index): Field => [table + index * 4, 'u32le', 2]),
    );
    expect(await inspectBytes(bomb, 'vmdk')).toMatchObject({ rule: 'expansion-too-large' });
    expect(await inspectBytes(image, 'vmdk')).toMatchObject({ kind: 'accepted', virtualSizeBytes: 2 ** 32 });
  });
});

describe('The footer of a VMDK stream', () => {
  const image = vmdkImage({ stream: true, footer: true });
  const footer = image.length - 1024;

  it.each<[string, Field]>([
    ['has another capacity', [footer + 12, 'u64le', 4096]],
    ['has another descriptor', [footer + 28, 'u64le', 3]],
    ['has another version', [footer + 4, 'u32le', 1]],
    ['has another compression', [footer + 77, 'u16le', 0]],
    ['is no header', [footer, 'u32le', 0]],
    ['points to another footer', [footer + 56, 'u64le', 0xffff_ffff_ffff_ffffn]],
    ['has no marker', [footer - 512 + 12, 'u32le', 2]],
    ['has data in its marker', [footer - 512 + 8, 'u32le', 1]],
    ['has no end of stream', [image.length - 1, 'u8', 1]],
  ])('is refused when it %s', async (_, field) => {
    expect(await inspectBytes(patched(image, [field]), 'vmdk')).toMatchObject({ rule: 'vmdk-footer' });
  });

  it('is refused when it is cut', async () => {
    expect(await inspectBytes(image.subarray(0, image.length - 512), 'vmdk')).toMatchObject({ rule: 'vmdk-footer' });
    expect(await inspectBytes(image.subarray(0, image.length - 100), 'vmdk')).toMatchObject({ rule: 'vmdk-footer' });
  });

  it('is not asked for by an offset that is only nearly all ones', async () => {
    expect(await inspectBytes(patched(image, [[56, 'u8', 0x62]]), 'vmdk')).toMatchObject({
      rule: 'vmdk-tables',
      offset: 56,
    });
  });

  it('tells where the grain directory is', async () => {
    expect(await inspectBytes(patched(image, [[footer + 56, 'u64le', 2 ** 30]]), 'vmdk')).toMatchObject({
      rule: 'vmdk-tables',
    });
  });
});
