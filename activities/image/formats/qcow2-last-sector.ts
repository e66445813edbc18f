import { constants, inflateRawSync } from 'node:zlib';
import type { CompressedData } from './qcow2-entries';
import type { Qcow2Header } from './qcow2-header';
import { MAX_RANGE_BYTES, need, giveWay, type Steps, type Subject } from './steps';

/** Compressed clusters that may share the sector with which the file ends; a sector has room for so many of the smallest. */
const MOST_CLUSTERS = 64;

/** Compressed clusters whose last sector is only partly in the file: some writers leave out what follows the data, and a cut takes some of the data. */
export interface LastSector {
  add(data: CompressedData): void;
  /** @returns the first that makes less than a cluster; where QEMU makes up the missing bytes, it gives the guest others. */
  findCut(): Steps<CompressedData | undefined>;
}

/** Data that zstd compressed is left to the conversion. */
export function createLastSector({ clusterBytes, compressionType }: Qcow2Header, { sizeBytes }: Subject): LastSector {
  const found: CompressedData[] = [];
  return {
    add(data) {
      const isPartly = data.offset + data.lengthBytes > sizeBytes;
      if (isPartly && compressionType === 0 && found.length < MOST_CLUSTERS) found.push(data);
    },
    *findCut() {
      for (const data of found) {
        yield* giveWay();
        const bytes = yield* read(data.offset, sizeBytes);
        if (isCut(bytes, clusterBytes)) return data;
      }
      return undefined;
    },
  };
}

function* read(offset: number, end: number): Steps<Buffer> {
  const parts: Buffer[] = [];
  for (let at = offset; at < end; at += MAX_RANGE_BYTES)
    parts.push(yield* need(at, Math.min(MAX_RANGE_BYTES, end - at)));
  return Buffer.concat(parts);
}

/** Data that is damaged besides is none of this rule's. */
function isCut(bytes: Buffer, clusterBytes: number): boolean {
  try {
    const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: clusterBytes };
    return inflateRawSync(bytes, options).length < clusterBytes;
  } catch {
    return false;
  }
}
