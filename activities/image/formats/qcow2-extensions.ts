import { KiB, MiB } from '../../../workflows/contract/bytes';
import type { Qcow2Header } from './qcow2-header';
import { isWithin, need, u64be, type Steps, type Subject } from './steps';
import { refuse, type ImageRefusal } from './verdict';

/** One header extension: its type and where its data lies in the area that was read. */
interface Extension {
  type: number;
  offset: number;
  data: Buffer;
}

const BITMAPS = 0x23852875;
const LUKS_HEADER = 0x0537be77;
const DATA_FILE_NAME = 0x44415441;
const knownTypes = new Set([0xe2792aca, 0x6803f857, BITMAPS, LUKS_HEADER, DATA_FILE_NAME]);

/** Extensions of real images take a few hundred bytes; a cluster may have 2 MiB. */
const MAX_AREA_BYTES = 64 * KiB;
const MAX_BITMAPS = 65_535;
const MAX_BITMAP_DIRECTORY_BYTES = 64 * MiB;

/** Walks the header extensions, which end at a zero type or with the first cluster. */
export function* findExtensionRefusal(header: Qcow2Header, subject: Subject): Steps<ImageRefusal | undefined> {
  const end = Math.min(header.clusterBytes, subject.sizeBytes, MAX_AREA_BYTES);
  if (header.headerBytes >= end) return undefined;
  const area = yield* need(header.headerBytes, end - header.headerBytes);
  const extensions = parseExtensions(area, header.headerBytes);
  if ('kind' in extensions) return extensions;
  for (const [index, extension] of extensions.entries()) {
    const isRepeated =
      knownTypes.has(extension.type) && extensions.findIndex(({ type }) => type === extension.type) !== index;
    if (isRepeated)
      return refuse('qcow2-extension-repeated', {
        offset: extension.offset,
        found: `a second ${name(extension)}`,
        allowed: 'one',
      });
    const refusal = findContentRefusal(extension, header, subject);
    if (refusal) return refusal;
  }
  return undefined;
}

function parseExtensions(area: Buffer, areaOffset: number): Extension[] | ImageRefusal {
  const extensions: Extension[] = [];
  let at = 0;
  while (at + 8 <= area.length) {
    const type = area.readUInt32BE(at);
    const length = area.readUInt32BE(at + 4);
    const room = area.length - at - 8;
    if (length > room) {
      return refuse('qcow2-extension-out-of-bounds', {
        offset: areaOffset + at,
        found: `an extension of ${length} bytes`,
        allowed: `at most ${room} bytes there`,
      });
    }
    // QEMU wants the end marker's length within bounds too.
    if (type === 0) return extensions;
    extensions.push({ type, offset: areaOffset + at, data: area.subarray(at + 8, at + 8 + length) });
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return extensions;
}

function findContentRefusal(extension: Extension, header: Qcow2Header, subject: Subject): ImageRefusal | undefined {
  const { type, offset } = extension;
  if (type === DATA_FILE_NAME)
    return refuse('qcow2-external-data-file', {
      offset,
      found: 'the name of an external data file',
      allowed: 'guest data in the file itself',
    });
  if (type === BITMAPS) return findBitmapsRefusal(extension, header, subject);
  if (type !== LUKS_HEADER) return undefined;
  if (!subject.policy.allowEncrypted)
    return refuse('encrypted', { offset, found: 'a LUKS header', allowed: 'no encryption of the whole image' });
  return header.cryptMethod === 2 &&
    extension.data.length === 16 &&
    isWithin(subject, { offset: u64be(extension.data, 0), lengthBytes: u64be(extension.data, 8) })
    ? undefined
    : refuse('qcow2-encryption-method', {
        offset,
        found: 'a LUKS header outside the file or without its method',
        allowed: 'method 2 with a header in the file',
      });
}

function findBitmapsRefusal(
  { data, offset }: Extension,
  { clusterBytes }: Qcow2Header,
  subject: Subject,
): ImageRefusal | undefined {
  const allowed = `1 to ${MAX_BITMAPS} bitmaps, their directory aligned to ${clusterBytes} and within the file`;
  if (data.length !== 24)
    return refuse('qcow2-bitmaps', { offset, found: `an extension of ${data.length} bytes`, allowed: '24 bytes' });
  const count = data.readUInt32BE(0);
  const directory = { offset: u64be(data, 16), lengthBytes: u64be(data, 8) };
  const isBounded = count >= 1 && count <= MAX_BITMAPS && directory.lengthBytes <= MAX_BITMAP_DIRECTORY_BYTES;
  if (isBounded && directory.offset % clusterBytes === 0 && isWithin(subject, directory)) return undefined;
  return refuse('qcow2-bitmaps', {
    offset,
    found: `${count} bitmaps, ${directory.lengthBytes} bytes at byte ${directory.offset}`,
    allowed,
  });
}

function name({ type }: Extension): string {
  return `header extension 0x${type.toString(16).padStart(8, '0')}`;
}
