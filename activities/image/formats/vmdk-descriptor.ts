import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { isStream, type VmdkHeader } from './vmdk-header';
import { quoteForeign, refuse, type ImageRefusal } from './verdict';

/** The embedded descriptor: a text of `key=value` lines and one line for each extent. Keys are lower case, text as latin1 whatever its encoding. */
export interface VmdkDescriptor {
  subformat: string;
  fields: Map<string, string>;
  extents: string[];
}

export const VMDK_DESCRIPTOR_OFFSET = SECTOR_BYTES;
/** QEMU looks for a parent's name in this many bytes, whatever the header says of the descriptor's size. */
export const VMDK_SEARCHED_BYTES = 20 * SECTOR_BYTES;

const NO_PARENT = 'ffffffff';
const subformats = new Map([
  ['monolithicsparse', { name: 'monolithicSparse', stream: false }],
  ['streamoptimized', { name: 'streamOptimized', stream: true }],
]);
const fieldPattern = /^([a-z][\w.]*)\s*=\s*(.*)$/i;
const valuePattern = /^(?:"([^"]*)"|([^\s"]*))$/;
/** The kind of an image depends on these fields: single, and plain. Any other may stand twice and say what it likes. */
const decisive = new Map([
  ['version', /^[1-4]$/],
  ['createtype', /^[a-z0-9]*$/i],
  ['cid', /^[0-9a-f]{1,8}$/i],
  ['parentcid', /^[0-9a-f]{1,8}$/i],
]);
const accessPattern = /^(?:rw|rdonly|noaccess)\s/i;
const extentPattern = /^(?:rw|rdonly)\s+(\d{1,15})\s+sparse\s+"([^"]{1,255})"$/i;
/** A file beside this one at most: nothing that leads elsewhere on any system, and no protocol. */
const plainNamePattern = /^(?!\.{1,2}$)[^/\\:]+$/;
/** Of these encodings the second byte of a character may look like a backslash. */
const twoByteEncodings = /^(?:gbk|gb2312|gb18030|big5|shift_jis|ms932|windows-(?:932|936|949|950))$/i;

/** @param area the file's bytes from the descriptor on. @returns the descriptor, or the line that no reader should have to guess at. */
export function parseDescriptor(area: Buffer, { descriptorBytes }: VmdkHeader): VmdkDescriptor | ImageRefusal {
  if (/parentfilenamehint/i.test(area.toString('latin1'))) return parentRefusal('parentFileNameHint');
  const end = area.indexOf(0);
  const text = area.toString('latin1', 0, Math.min(descriptorBytes, end === -1 ? descriptorBytes : end));
  if (/[^\t\n\r\x20-\x7e\x80-\xff]/.test(text)) return descriptorRefusal('bytes that are not text');
  const fields = new Map<string, string>();
  const extents: string[] = [];
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    const [, key, value = ''] = fieldPattern.exec(line) ?? [];
    if (line === '' || line.startsWith('#')) continue;
    if (accessPattern.test(line)) extents.push(line);
    else if (key === undefined) return descriptorRefusal(`line ${quoteForeign(line)}`);
    else {
      const refusal = addField(fields, key, value);
      if (refusal) return refusal;
    }
  }
  return { fields, extents, subformat: subformats.get(fields.get('createtype')?.toLowerCase() ?? '')?.name ?? '' };
}

function addField(fields: VmdkDescriptor['fields'], key: string, text: string): ImageRefusal | undefined {
  const name = key.toLowerCase();
  const [, quoted, plain] = valuePattern.exec(text) ?? [];
  const value = quoted ?? plain;
  const pattern = decisive.get(name);
  if (pattern !== undefined) {
    if (fields.has(name)) return descriptorRefusal(`a second ${quoteForeign(key)}`);
    if (value === undefined || !pattern.test(value)) return descriptorRefusal(`${key} ${quoteForeign(text)}`);
  }
  fields.set(name, value ?? text);
  return undefined;
}

/** The descriptor must say the same as the header: one file, no parent, one extent. */
export function findDescriptorRefusal(descriptor: VmdkDescriptor, header: VmdkHeader): ImageRefusal | undefined {
  const { fields } = descriptor;
  const createType = fields.get('createtype') ?? '';
  const subformat = subformats.get(createType.toLowerCase());
  if (subformat?.stream !== isStream(header)) {
    const found = `createType ${quoteForeign(createType)} over ${isStream(header) ? 'compressed' : 'plain'} grains`;
    return refuse('vmdk-subformat', {
      offset: VMDK_DESCRIPTOR_OFFSET,
      found,
      allowed: 'monolithicSparse, or streamOptimized with compressed grains',
    });
  }
  const parent = fields.get('parentcid') ?? '';
  if (parent.toLowerCase() !== NO_PARENT) return parentRefusal(`parentCID ${quoteForeign(parent)}`);
  return findExtentRefusal(descriptor, header);
}

function findExtentRefusal(
  { extents, fields }: VmdkDescriptor,
  { capacitySectors, grainSectors }: VmdkHeader,
): ImageRefusal | undefined {
  const wrong = (found: string) =>
    refuse('vmdk-extents', {
      offset: VMDK_DESCRIPTOR_OFFSET,
      found,
      allowed: `one sparse extent of ${capacitySectors} sectors, by a plain file name`,
    });
  const [extent] = extents;
  if (extent === undefined || extents.length > 1) return wrong(`${extents.length} extents`);
  const [, sectors, name] = extentPattern.exec(extent) ?? [];
  if (sectors === undefined || name === undefined || !isPlainName(name, fields.get('encoding')))
    return wrong(quoteForeign(extent));
  // Writers of streams round the capacity to whole grains.
  return Math.abs(Number(sectors) - capacitySectors) < grainSectors
    ? undefined
    : wrong(`an extent of ${sectors} sectors`);
}

function isPlainName(name: string, encoding = ''): boolean {
  return plainNamePattern.test(
    twoByteEncodings.test(encoding) ? name.replaceAll(/[\x80-\xff][\x40-\xff]/g, '?') : name,
  );
}

function parentRefusal(found: string): ImageRefusal {
  return refuse('vmdk-parent', { offset: VMDK_DESCRIPTOR_OFFSET, found, allowed: 'no parent' });
}

function descriptorRefusal(found: string): ImageRefusal {
  return refuse('vmdk-descriptor', {
    offset: VMDK_DESCRIPTOR_OFFSET,
    found,
    allowed:
      'comments, key=value lines and extents in readable text; version, createType, CID and parentCID once and plain',
  });
}
