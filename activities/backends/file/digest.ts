import { open } from 'node:fs/promises';
import { MiB } from '../../../workflows/contract/bytes';
import type { DigestOptions, ParentDigest } from '../backend';
import { createPacedHash } from '../paced-hash';
import type { FileBackendContext } from './context';
import { imagePaths } from './layout';
import { getSealedParent } from './parent';
import { unlessAbsent } from '../../../lib/errno';

/** Read at once: one buffer is all that a digest holds. */
const CHUNK_BYTES = MiB;

/** sha256 of a sealed parent's bytes. */
export async function digestParent(
  context: FileBackendContext,
  name: string,
  options: DigestOptions,
): Promise<ParentDigest | undefined> {
  await using file = await unlessAbsent(open(imagePaths(context.layout, name).data));
  if (file === undefined) return undefined;
  const { virtualBytes } = await getSealedParent(context, name);
  const hash = createPacedHash(options, virtualBytes);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let offset = 0; offset < virtualBytes;) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK_BYTES, virtualBytes - offset), offset);
    if (bytesRead === 0) throw new Error(`${name} ends at byte ${offset} of ${virtualBytes}`);
    await hash.update(chunk.subarray(0, bytesRead));
    offset += bytesRead;
  }
  return hash.digest();
}
