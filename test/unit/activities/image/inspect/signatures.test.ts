import {
  bannedHeads,
  gptDisk,
  hybridIso,
  isoImage,
  inspectBytes,
  luksDisk,
  luksPartitionDisk,
  mbrDisk,
  patched,
  qcow2Image,
  rawDisk,
  vhdImage,
  vmdkDescriptor,
  wellFormedImages,
} from '../../../../support/images/image-fixtures';

describe('What is declared', () => {
  it.each(wellFormedImages)('accepts $name under its own name', async ({ format, build }) => {
    expect(await inspectBytes(build(), format)).toMatchObject({ kind: 'accepted', format });
  });

  const formats = ['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso'];
  const strangers = wellFormedImages.flatMap(({ name, format, build }) =>
    formats.filter((other) => other !== format).map((declared) => ({ name, declared, build })),
  );
  it.each(strangers.filter(({ name, declared }) => !(name === 'hybrid iso' && declared === 'raw')))(
    'refuses $name declared $declared',
    async ({ declared, build }) => {
      expect(await inspectBytes(build(), declared)).toMatchObject({
        kind: 'refused',
        rule: 'declared-format-mismatch',
      });
    },
  );

  it('accepts a hybrid ISO declared raw: its bytes are a disk as they stand', async () => {
    expect(await inspectBytes(hybridIso(), 'raw')).toMatchObject({ kind: 'accepted', format: 'raw' });
  });

  it('refuses a format that the policy does not list, before any byte is looked at', async () => {
    expect(await inspectBytes(Buffer.alloc(0), 'vdi', { formats: ['raw', 'qcow2'] })).toEqual({
      kind: 'refused',
      rule: 'format-unsupported',
      found: 'of disk format vdi',
      allowed: 'raw, qcow2',
    });
    expect(await inspectBytes(rawDisk(), 'ploop')).toMatchObject({ rule: 'format-unsupported' });
    expect(await inspectBytes(rawDisk(), 'constructor')).toMatchObject({ rule: 'format-unsupported' });
  });

  it('refuses an empty file', async () => {
    expect(await inspectBytes(Buffer.alloc(0), 'raw')).toMatchObject({ rule: 'file-empty' });
  });
});

describe('What the bytes announce', () => {
  it.each(Object.entries(bannedHeads))('refuses %s bytes whatever is declared', async (_, head) => {
    expect(await inspectBytes(patched(rawDisk(), [[0, 'bytes', head]]), 'raw')).toMatchObject({
      rule: 'format-banned',
      offset: 0,
    });
  });

  it('refuses a DMG by its trailer, and a fixed VHD declared raw by its footer', async () => {
    const disk = rawDisk();
    expect(await inspectBytes(patched(disk, [[disk.length - 512, 'bytes', 'koly']]), 'raw')).toMatchObject({
      rule: 'format-banned',
      offset: disk.length - 512,
    });
    expect(await inspectBytes(vhdImage({ type: 'fixed' }), 'raw')).toMatchObject({ rule: 'declared-format-mismatch' });
  });

  it.each([
    ['a descriptor', vmdkDescriptor()],
    ['a descriptor in Windows lines', vmdkDescriptor().replaceAll('\n', '\r\n')],
    ['a descriptor behind comments and blank lines', `# x\n\n   \n${'# y\n'.repeat(50)}version=1\nCID=1\n`],
    ['a descriptor without a version', '# Disk DescriptorFile\nRW 4 FLAT "/etc/shadow" 0\n'],
    ['readable text with a createType', `encoding="UTF-8"\n${'x=1\n'.repeat(200)}createType="monolithicFlat"\n`],
  ])('sees a VMDK in %s', async (_, text) => {
    expect(await inspectBytes(patched(rawDisk(), [[0, 'bytes', text]]), 'raw')).toMatchObject({
      rule: 'declared-format-mismatch',
      found: 'vmdk bytes declared raw',
    });
    expect(await inspectBytes(Buffer.from(text), 'vmdk')).toMatchObject({ rule: 'vmdk-subformat' });
  });

  it('sees no VMDK in other readable text', async () => {
    expect(await inspectBytes(Buffer.from('# a shell script\necho hello\n'.repeat(100)), 'raw')).toMatchObject({
      kind: 'accepted',
    });
  });

  it.each([
    ['a VDI', [0x40, 'u32le', 0xbeda107f]],
    ['an ISO', [32_769, 'bytes', 'CD001']],
    ['a disk with a boot sector', [510, 'u16le', 0xaa55]],
  ] as const)('refuses a qcow2 that is also %s', async (_, field) => {
    expect(await inspectBytes(patched(qcow2Image({ clusterBits: 16 }), [[...field]]), 'qcow2')).toMatchObject({
      rule: 'several-signatures',
    });
  });

  it('refuses a qcow2 that is also a fixed VHD', async () => {
    const image = Buffer.concat([qcow2Image(), vhdImage({ type: 'fixed', virtualBytes: 512 }).subarray(512)]);
    expect(await inspectBytes(image, 'qcow2')).toMatchObject({ rule: 'several-signatures' });
    expect(await inspectBytes(image, 'vhd')).toMatchObject({ rule: 'several-signatures' });
  });

  it('lets a fixed VHD begin with a partition table: its start is the guest’s', async () => {
    const image = Buffer.concat([
      mbrDisk(),
      vhdImage({ type: 'fixed', virtualBytes: mbrDisk().length }).subarray(mbrDisk().length),
    ]);
    expect(await inspectBytes(image, 'vhd')).toMatchObject({ kind: 'accepted', virtualSizeBytes: mbrDisk().length });
  });
});

describe('A raw disk', () => {
  it('may hold a LUKS partition, and may not be a LUKS container unless policy says so', async () => {
    expect(await inspectBytes(luksPartitionDisk(), 'raw')).toMatchObject({ kind: 'accepted' });
    expect(await inspectBytes(luksDisk(), 'raw')).toMatchObject({ rule: 'encrypted', offset: 0 });
    expect(await inspectBytes(luksDisk(), 'raw', { allowEncrypted: true })).toMatchObject({
      kind: 'accepted',
      details: { encrypted: true },
    });
    expect(await inspectBytes(luksDisk(), 'qcow2', { allowEncrypted: true })).toMatchObject({
      rule: 'declared-format-mismatch',
    });
  });

  it('has its size rounded up to a sector, within the policy', async () => {
    expect(await inspectBytes(rawDisk(1000), 'raw')).toMatchObject({ kind: 'accepted', virtualSizeBytes: 1024 });
    expect(await inspectBytes(rawDisk(1025), 'raw', { maxVirtualBytes: 1024 })).toMatchObject({
      rule: 'virtual-size-too-large',
      found: '1536 bytes',
    });
  });

  it('may have odd partition tables unless policy is strict', async () => {
    const hybridMbr = patched(gptDisk(), [[466, 'u8', 0x83]]);
    const oddChs = patched(gptDisk(), [[447, 'bytes', Buffer.from('000100', 'hex')]]);
    const noPartitions = patched(rawDisk(), [[510, 'u16le', 0xaa55]]);
    const oddFlag = patched(mbrDisk(), [[446, 'u8', 0x12]]);
    for (const disk of [hybridMbr, oddChs, noPartitions, oddFlag]) {
      expect(await inspectBytes(disk, 'raw')).toMatchObject({ kind: 'accepted' });
      expect(await inspectBytes(disk, 'raw', { strictPartitionTables: true })).toMatchObject({
        rule: 'partition-table-malformed',
      });
    }
    for (const disk of [mbrDisk(), gptDisk()])
      expect(await inspectBytes(disk, 'raw', { strictPartitionTables: true })).toMatchObject({ kind: 'accepted' });
    expect(await inspectBytes(patched(gptDisk(), [[454, 'u32le', 7]]), 'raw')).toMatchObject({
      rule: 'partition-table-malformed',
      offset: 446,
    });
  });
});

describe('An ISO', () => {
  it.each([
    ['iso-descriptors', patched(isoImage(), [[32_768, 'u8', 2]])],
    ['iso-descriptors', patched(isoImage(), [[34_816, 'u8', 7]])],
    ['iso-descriptors', patched(isoImage(), [[32_768 + 84, 'u32be', 1]])],
    ['iso-descriptors', patched(isoImage(), [[32_768 + 128, 'u16le', 4096], [32_768 + 130, 'u16be', 4096]])], // prettier-ignore
    ['iso-size', isoImage({ blocks: 1025 })],
    ['virtual-size-too-large', isoImage({ fileBytes: 3 * 1024 * 1024 })],
  ])('is refused by %s', async (rule, image) => {
    expect(await inspectBytes(image, 'iso', { maxVirtualBytes: 2 * 1024 * 1024 })).toMatchObject({
      kind: 'refused',
      rule,
    });
  });
});
