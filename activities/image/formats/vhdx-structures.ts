import { KiB } from '../../../workflows/contract/bytes';
import { crc32c } from './crc32c';
import { u64le, type Range } from './steps';

/** One of the two headers of a VHDX (MS-VHDX 2.2.2). */
export interface VhdxHeader {
  sequence: number;
  logIsEmpty: boolean;
  version: number;
  log: Range;
}
export interface VhdxRegion extends Range {
  guid: string;
  isRequired: boolean;
}
export interface VhdxItem extends VhdxRegion {}

export const vhdxGuids = {
  bat: guidBytes('2dc27766-f623-4200-9d64-115e9bfd4a08'),
  metadata: guidBytes('8b7ca206-4790-4b9a-b8fe-575f050f886e'),
  fileParameters: guidBytes('caa16737-fa36-4d43-b3b6-33f0aa44e76b'),
  virtualSize: guidBytes('2fa54224-cd1b-4876-b211-5dbed83bf4b8'),
  page83: guidBytes('beca12ab-b2e6-4523-93ef-c309e000c746'),
  logicalSector: guidBytes('8141bf1d-a96f-4709-ba47-f233a8faab5f'),
  physicalSector: guidBytes('cda348c7-445d-4471-9cc9-e9885251c556'),
  parentLocator: guidBytes('a8d35f2d-b30b-454d-abf7-d3d84834ab0c'),
};

export const VHDX_HEADER_BYTES = 4 * KiB;
export const VHDX_TABLE_BYTES = 64 * KiB;
const CHECKSUM_OFFSET = 4;
const MAX_ENTRIES = 2047;
const ENTRY_BYTES = 32;
const IS_REQUIRED_REGION = 1;
const IS_REQUIRED_ITEM = 4;

/** @returns the header, undefined where signature or checksum are wrong. */
export function parseVhdxHeader(bytes: Buffer): VhdxHeader | undefined {
  if (!isIntact(bytes, 'head')) return undefined;
  return {
    sequence: u64le(bytes, 8),
    logIsEmpty: bytes.subarray(48, 64).every((byte) => byte === 0),
    version: bytes.readUInt16LE(66),
    log: { offset: u64le(bytes, 72), lengthBytes: bytes.readUInt32LE(68) },
  };
}

/** @returns the regions, undefined where signature, checksum or count are wrong. */
export function parseRegionTable(bytes: Buffer): VhdxRegion[] | undefined {
  const count = bytes.readUInt32LE(8);
  if (!isIntact(bytes, 'regi') || count > MAX_ENTRIES) return undefined;
  return entries(bytes, { first: 16, count }).map((entry) => ({
    guid: entry.toString('hex', 0, 16),
    offset: u64le(entry, 16),
    lengthBytes: entry.readUInt32LE(24),
    isRequired: (entry.readUInt32LE(28) & IS_REQUIRED_REGION) !== 0,
  }));
}

/** @returns the metadata items, at offsets within their region; undefined where signature or count are wrong. */
export function parseMetadataTable(bytes: Buffer): VhdxItem[] | undefined {
  const count = bytes.readUInt16LE(10);
  if (bytes.toString('latin1', 0, 8) !== 'metadata' || count > MAX_ENTRIES) return undefined;
  return entries(bytes, { first: 32, count }).map((entry) => ({
    guid: entry.toString('hex', 0, 16),
    offset: entry.readUInt32LE(16),
    lengthBytes: entry.readUInt32LE(20),
    isRequired: (entry.readUInt32LE(24) & IS_REQUIRED_ITEM) !== 0,
  }));
}

function entries(bytes: Buffer, { first, count }: { first: number; count: number }): Buffer[] {
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(first + index * ENTRY_BYTES, first + (index + 1) * ENTRY_BYTES),
  );
}

function isIntact(bytes: Buffer, signature: string): boolean {
  return (
    bytes.toString('latin1', 0, 4) === signature &&
    bytes.readUInt32LE(CHECKSUM_OFFSET) === crc32c(bytes, CHECKSUM_OFFSET)
  );
}

/** @returns a GUID as it stands in the file, hex: its first three fields are little endian. */
function guidBytes(text: string): string {
  const [a = '', b = '', c = '', d = '', e = ''] = text.split('-');
  const swapped = [a, b, c].map((field) => (field.match(/../g) ?? []).toReversed().join(''));
  return [...swapped, d, e].join('');
}
