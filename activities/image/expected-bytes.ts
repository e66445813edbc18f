import { Failure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';

/** A record's promises about an image's bytes: the pin of a download. */
export interface ExpectedBytes {
  sizeBytes: number;
  /** As node:crypto names it. */
  algorithm: string;
  /** Lower-case hex. */
  hash: string;
}

/** `os_hash_algo` names hashes as Python's hashlib does. */
const algorithms: Record<string, string> = {
  sha256: 'sha256',
  sha384: 'sha384',
  sha512: 'sha512',
  'sha3-256': 'sha3-256',
  'sha3-384': 'sha3-384',
  'sha3-512': 'sha3-512',
  blake2b: 'blake2b512',
  blake2s: 'blake2s256',
};

/** The strong hash of the record, else its md5. @throws ImageNotActive; ImageUnsupported when the record has no hash that is known here. */
export function parseExpectedBytes({
  id,
  status,
  sizeBytes,
  hashAlgorithm,
  hashValue,
  checksum,
}: Image): ExpectedBytes {
  if (status !== 'active' || sizeBytes === null) throw new Failure('ImageNotActive', { imageId: id, status });
  const algorithm = algorithms[hashAlgorithm?.replace('_', '-') ?? ''];
  if (algorithm !== undefined && hashValue !== null) return { sizeBytes, algorithm, hash: hashValue };
  if (checksum !== null) return { sizeBytes, algorithm: 'md5', hash: checksum };
  const allowed = `an os_hash_algo of ${Object.keys(algorithms).join(', ')}, or an md5 checksum`;
  throw new Failure('ImageUnsupported', { imageId: id, found: `hashed by ${hashAlgorithm ?? 'nothing'}`, allowed });
}

/** @throws ImageNotActive, ImageUnsupported; ImageChanged when the record no longer promises the same bytes. */
export function checkUnchanged(image: Image, pinned: ExpectedBytes): void {
  const found = parseExpectedBytes(image);
  const describe = ({ sizeBytes, algorithm, hash }: ExpectedBytes): string =>
    `${sizeBytes} bytes with ${algorithm} ${hash.slice(0, 16)}…`;
  if (found.sizeBytes !== pinned.sizeBytes || found.algorithm !== pinned.algorithm || found.hash !== pinned.hash)
    throw new Failure('ImageChanged', { imageId: image.id, found: describe(found), allowed: describe(pinned) });
}
