import { qcow2HeaderChecks } from './qcow2-checks';
import { findExtensionRefusal } from './qcow2-extensions';
import {
  parseQcow2Header,
  QCOW2_READ_BYTES,
  QCOW2_V2_HEADER_BYTES,
  QCOW2_V3_HEADER_BYTES,
  type Qcow2Header,
} from './qcow2-header';
import { findSnapshotRefusal } from './qcow2-snapshots';
import { findTableRefusal } from './qcow2-tables';
import { firstRefusal, need, type Steps, type Subject } from './steps';
import { refuse, type Details, type ImageRefusal, type ImageVerdict } from './verdict';

/** Inspects a file with qcow2's magic: header, header extensions, snapshots, L1 and, where needed, L2 tables. */
export function* inspectQcow2(subject: Subject): Steps<ImageVerdict> {
  const header = yield* readHeader(subject);
  if ('kind' in header) return header;
  const refusal =
    firstRefusal(header, subject, qcow2HeaderChecks) ??
    (yield* findExtensionRefusal(header, subject)) ??
    (yield* findSnapshotRefusal(header, subject)) ??
    (yield* findTableRefusal(header, subject));
  return (
    refusal ?? { kind: 'accepted', format: 'qcow2', virtualSizeBytes: header.virtualBytes, details: describe(header) }
  );
}

function* readHeader({ sizeBytes }: Subject): Steps<Qcow2Header | ImageRefusal> {
  const start = yield* need(0, QCOW2_V2_HEADER_BYTES);
  const version = start.readUInt32BE(4);
  if (version !== 2 && version !== 3)
    return refuse('qcow2-version', { offset: 4, found: `version ${version}`, allowed: '2 or 3' });
  if (version === 2) return parseQcow2Header(start);
  return parseQcow2Header(yield* need(0, Math.max(QCOW2_V3_HEADER_BYTES, Math.min(QCOW2_READ_BYTES, sizeBytes))));
}

function describe(header: Qcow2Header): Details {
  return {
    version: header.version,
    clusterBytes: header.clusterBytes,
    compression: header.compressionType === 1 ? 'zstd' : 'zlib',
    extendedL2: header.extendedL2,
    snapshots: header.snapshotCount,
    encrypted: header.cryptMethod !== 0,
  };
}
