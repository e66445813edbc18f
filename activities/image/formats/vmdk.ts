import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import {
  findDescriptorRefusal,
  parseDescriptor,
  VMDK_DESCRIPTOR_OFFSET,
  VMDK_SEARCHED_BYTES,
  type VmdkDescriptor,
} from './vmdk-descriptor';
import { isAllowedVersion, parseVmdkHeader, vmdkHeaderChecks, type VmdkHeader } from './vmdk-header';
import { findGrainRefusal } from './vmdk-tables';
import { firstRefusal, need, type Steps, type Subject } from './steps';
import { refuse, type ImageRefusal, type ImageVerdict } from './verdict';

const FOOTER_BYTES = 3 * SECTOR_BYTES;
const MARKER_FOOTER = 3;

/** Inspects a file that announces itself as VMDK: only a sparse extent that carries its own descriptor is let through. */
export function* inspectVmdk(subject: Subject): Steps<ImageVerdict> {
  const start = yield* need(0, Math.min(SECTOR_BYTES, subject.sizeBytes));
  if (start.toString('latin1', 0, 4) !== 'KDMV') {
    return refuse('vmdk-subformat', {
      offset: 0,
      found: 'a descriptor or extent without the other',
      allowed: 'one file with both',
    });
  }
  const header = parseVmdkHeader(yield* need(0, SECTOR_BYTES));
  const early = firstRefusal(header, subject, vmdkHeaderChecks);
  if (early) return early;
  const descriptor = yield* readDescriptor(header, subject);
  if ('kind' in descriptor) return descriptor;
  const tables = header.hasFooter ? yield* readFooter(start, subject) : header;
  if ('kind' in tables) return tables;
  const refusal = yield* findGrainRefusal(tables, subject);
  const { subformat } = descriptor;
  return (
    refusal ?? {
      kind: 'accepted',
      format: 'vmdk',
      virtualSizeBytes: header.virtualBytes,
      details: { version: header.version, subformat, grainBytes: header.grainBytes },
    }
  );
}

function* readDescriptor(header: VmdkHeader, subject: Subject): Steps<VmdkDescriptor | ImageRefusal> {
  const lengthBytes = Math.max(header.descriptorBytes, VMDK_SEARCHED_BYTES);
  const area = yield* need(VMDK_DESCRIPTOR_OFFSET, Math.min(lengthBytes, subject.sizeBytes - VMDK_DESCRIPTOR_OFFSET));
  const descriptor = parseDescriptor(area, header);
  return 'kind' in descriptor ? descriptor : (findDescriptorRefusal(descriptor, header) ?? descriptor);
}

/**
 * Reads the footer of a stream, which takes the header's place: marker, header, end of stream, a sector each.
 * @returns the header it carries, which must be the first one but for where the grain directory is.
 */
function* readFooter(start: Buffer, { sizeBytes }: Subject): Steps<VmdkHeader | ImageRefusal> {
  const offset = sizeBytes - FOOTER_BYTES;
  const refused = (found: string) =>
    refuse('vmdk-footer', { offset, found, allowed: 'a footer that says what the header says' });
  if (offset < 0 || sizeBytes % SECTOR_BYTES !== 0) return refused(`a file of ${sizeBytes} bytes`);
  const footer = yield* need(offset, FOOTER_BYTES);
  const [marker, copy, end] = [0, 1, 2].map((index) =>
    footer.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES),
  );
  if (!marker || !copy || !end) return refused('no footer');
  if (marker.readUInt32LE(8) !== 0 || marker.readUInt32LE(12) !== MARKER_FOOTER || !isZero(marker.subarray(16)))
    return refused('no footer marker');
  if (!isZero(end)) return refused('no end-of-stream marker');
  const header = parseVmdkHeader(copy);
  if (!isAllowedVersion(header) || header.hasFooter || !agree(start, copy))
    return refused('a header that differs from the first');
  return header;
}

/** Magic to grains of a table, and the compression; the offsets of the tables are the footer's own. */
function agree(start: Buffer, copy: Buffer): boolean {
  return start.subarray(0, 48).equals(copy.subarray(0, 48)) && start.subarray(73, 79).equals(copy.subarray(73, 79));
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
