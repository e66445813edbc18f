/** Where a refusal is reported: a rule broken by the bytes, or a format that this installation does not take. */
interface Rule {
  format: 'any' | 'qcow2' | 'vmdk' | 'vhd' | 'vhdx' | 'vdi' | 'iso' | 'raw';
  failure: 'ImageRefused' | 'ImageUnsupported';
  /** The rule's demand on an image, one sentence for the documentation. */
  says: string;
}

const any = (says: string): Rule => ({ format: 'any', failure: 'ImageRefused', says });
const of =
  (format: Rule['format']) =>
  (says: string): Rule => ({ format, failure: 'ImageRefused', says });
const qcow2 = of('qcow2');
const vmdk = of('vmdk');
const vhd = of('vhd');
const vhdx = of('vhdx');
const vdi = of('vdi');
const iso = of('iso');

/** Every rule that an image can break, by its stable name. */
export const rules = {
  'format-unsupported': {
    format: 'any',
    failure: 'ImageUnsupported',
    says: 'The declared disk format is one that the policy lists.',
  },
  'format-banned': any('The bytes are not QED, Parallels, Bochs, cloop, DMG or qcow version 1.'),
  'disk-packed': any('The bytes are a disk, not an archive or a compressed file with a disk in it.'),
  'declared-format-mismatch': any('The declared disk format is the one the bytes have.'),
  'several-signatures': any('The bytes have the signature of one format only; an ISO may carry a partition table.'),
  'file-truncated': any(
    'The file holds every byte its headers and tables speak of; only the last cluster of a qcow2, or grain of a VMDK, may end early and goes on with zeros.',
  ),
  'file-empty': any('The file has at least one byte.'),
  'inspection-too-long': any('The headers can be judged within a bounded number of reads.'),
  encrypted: any(
    'The image is not encrypted as a whole, unless the policy allows it; encryption inside a guest disk is the guest’s own.',
  ),
  'virtual-size-zero': any('The guest sees at least one sector.'),
  'virtual-size-overflow': any('The guest-visible size can be represented.'),
  'virtual-size-too-large': any('The guest-visible size is within the policy.'),
  'virtual-size-unaligned': any('The guest-visible size is a multiple of 512 bytes.'),
  'expansion-too-large': any('The bytes written stay in proportion to the file’s own.'),
  'container-not-compressed': any('A compressed container is a gzip, xz or zstd file.'),
  'data-unreadable': any('Guest bytes can be read to their end: no compressed cluster or grain is cut or damaged.'),
  'container-damaged': any('A compressed container can be read to its end.'),
  'container-memory': any('A compressed container can be decompressed with 512 MiB of memory.'),
  'tool-disagrees': any('qemu-img sees what the inspection saw: the size, one file, no corruption.'),
  'written-bytes-look-like-image': any('Guest bytes that were written do not begin like another disk image.'),
  'partition-table-malformed': of('raw')(
    'A GPT’s protective MBR begins at sector 1; with strict tables it is exactly what UEFI draws.',
  ),

  'qcow2-version': qcow2('The version is 2 or 3.'),
  'qcow2-backing-file': qcow2('There is no backing file.'),
  'qcow2-external-data-file': qcow2('Guest data is in the file itself.'),
  'qcow2-incompatible-features': qcow2('No unknown incompatible feature bit is set.'),
  'qcow2-marked-corrupt': qcow2('The corrupt bit is not set.'),
  'qcow2-header-length': qcow2('The header length is 104 or more, a multiple of 8 and within the first cluster.'),
  'qcow2-cluster-bits': qcow2('Clusters are 512 bytes to 2 MiB; 16 KiB at least with extended L2 entries.'),
  'qcow2-refcount-order': qcow2('Reference counts are at most 64 bits wide.'),
  'qcow2-compression-type': qcow2('Compression is zlib, or zstd with its feature bit.'),
  'qcow2-encryption-method': qcow2('The encryption method is one of those the format defines.'),
  'qcow2-extension-out-of-bounds': qcow2('Header extensions end within the first cluster and its first 64 KiB.'),
  'qcow2-extension-repeated': qcow2('A header extension appears once.'),
  'qcow2-bitmaps': qcow2('The bitmap directory is aligned, bounded and within the file.'),
  'qcow2-l1-size': qcow2('The L1 table covers the guest’s size and is within the policy’s limit.'),
  'qcow2-l1-offset': qcow2('The L1 table is aligned and within the file.'),
  'qcow2-l1-entry': qcow2('L1 entries point to aligned L2 tables within the file and have no reserved bit.'),
  'qcow2-l2-shared': qcow2('No two L1 entries share an L2 table.'),
  'qcow2-l2-entry': qcow2('L2 entries name aligned clusters or compressed data, and have no reserved bit.'),
  'qcow2-clusters-shared': qcow2('No two L2 entries share a cluster.'),
  'qcow2-refcount-table': qcow2('The refcount table is aligned, at most 8 MiB and within the file.'),
  'qcow2-tables-overlap': qcow2('Header, L1, refcount and snapshot tables do not overlap.'),
  'qcow2-snapshots': qcow2('Internal snapshots are few, and their table and L1 tables are within bounds.'),
  'qcow2-vm-state': qcow2('No internal snapshot carries VM state.'),

  'vmdk-version': vmdk('The sparse header’s version is 1, 2 or 3.'),
  'vmdk-header': vmdk('The sparse header’s newline-detection bytes are intact and its flags agree with the subformat.'),
  'vmdk-subformat': vmdk(
    'The descriptor’s createType is monolithicSparse or streamOptimized, in one file with its extent.',
  ),
  'vmdk-descriptor-out-of-bounds': vmdk(
    'The embedded descriptor begins at sector 1, is at most 20 sectors long and within the file.',
  ),
  'vmdk-descriptor': vmdk(
    'Every line of the descriptor is a comment, key=value or an extent; version, createType and CIDs stand once and are plain.',
  ),
  'vmdk-parent': vmdk('The descriptor names no parent.'),
  'vmdk-extents': vmdk(
    'There is exactly one extent, sparse, in the file itself, by a name without a path, of the header’s capacity.',
  ),
  'vmdk-geometry': vmdk('Grain size, grain tables and capacity are within their bounds.'),
  'vmdk-tables': vmdk('Grain directory and grain tables are within the file and apart from each other.'),
  'vmdk-footer': vmdk('A footer is complete and agrees with the header.'),

  'vhd-footer': vhd('The footer is complete, of version 1 with a valid checksum, and its copies agree.'),
  'vhd-type': vhd('The disk is fixed or dynamic.'),
  'vhd-parent': vhd('The disk is no differencing disk and has no parent locator.'),
  'vhd-dynamic-header': vhd('The dynamic header is within the file, with a valid checksum and version.'),
  'vhd-block-size': vhd('Blocks are a power of two from 512 KiB to 256 MiB.'),
  'vhd-table': vhd('The block allocation table covers the disk, is within the file and the policy’s limit.'),
  'vhd-blocks': vhd('Blocks are within the file and not shared.'),
  'vhd-size': vhd('A fixed disk’s size is the file without its footer.'),

  'vhdx-header': vhdx('One of the two headers is valid: checksum, version 1, sequence number.'),
  'vhdx-log': vhdx('The log is empty: the disk was closed cleanly.'),
  'vhdx-region-table': vhdx(
    'Both region tables are valid and agree; regions are aligned, within the file and do not overlap.',
  ),
  'vhdx-metadata': vhdx(
    'The metadata table has every required item once, within its region, and no unknown required item.',
  ),
  'vhdx-parent': vhdx('The disk is no differencing disk and has no parent locator.'),
  'vhdx-block-size': vhdx('Blocks are a power of two from 1 MiB to 256 MiB.'),
  'vhdx-sector-size': vhdx('The logical sector is 512 bytes; the physical one 512 or 4096.'),
  'vhdx-table': vhdx('The block allocation table covers the disk and is within the policy’s limit.'),
  'vhdx-blocks': vhdx('Blocks are within the file, aligned and not shared.'),

  'vdi-version': vdi('The version is 1.1 with its full header.'),
  'vdi-type': vdi('The disk is dynamic or fixed.'),
  'vdi-parent': vdi('The disk has no parent and no link.'),
  'vdi-block-size': vdi('Blocks are 1 MiB without extra data, sectors 512 bytes.'),
  'vdi-table': vdi('The block map covers the disk, is aligned, within the file and the policy’s limit.'),
  'vdi-blocks': vdi('Blocks are within the file and not shared.'),

  'iso-descriptors': iso('The volume descriptors end within their bound and the primary one agrees with itself.'),
  'iso-size': iso('The volume is not larger than the file.'),
} satisfies Record<string, Rule>;

export type RuleName = keyof typeof rules;
