import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { MiB } from '../../../workflows/contract/bytes';
import type { DigestOptions, ParentDigest } from '../backend';
import type { FileBackendContext } from './context';
import { imagePaths } from './layout';
import { getSealedParent } from './parent';
import { unlessAbsent } from '../../../lib/errno';
import { pause } from '../../../lib/abort';

/** Read at once: one buffer is all that a digest holds. */
const CHUNK_BYTES = MiB;
/** What the pace is ahead by before it waits: waiting for less costs more than it spares. */
const BURST_MS = 50;

/** sha256 of a sealed parent's bytes. Zero runs are read (they are mostly holes) and hashed, and do not count for the pace. */
export async function digestParent(
  context: FileBackendContext,
  name: string,
  { bytesPerSecond, signal, onProgress }: DigestOptions,
): Promise<ParentDigest | undefined> {
  const file = await unlessAbsent(open(imagePaths(context.layout, name).data));
  if (file === undefined) return undefined;
  try {
    const { virtualBytes } = await getSealedParent(context, name);
    const hash = createHash('sha256');
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const zeros = Buffer.alloc(CHUNK_BYTES);
    const startedAtMs = performance.now();
    let pacedBytes = 0;
    for (let offset = 0; offset < virtualBytes;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK_BYTES, virtualBytes - offset), offset);
      if (bytesRead === 0) throw new Error(`${name} ends at byte ${offset} of ${virtualBytes}`);
      const read = chunk.subarray(0, bytesRead);
      hash.update(read);
      offset += bytesRead;
      onProgress(offset, virtualBytes);
      if (read.equals(zeros.subarray(0, bytesRead))) continue;
      pacedBytes += bytesRead;
      const aheadMs = (pacedBytes / bytesPerSecond) * 1000 - (performance.now() - startedAtMs);
      if (aheadMs > BURST_MS) await pause(aheadMs, signal);
    }
    return { algorithm: 'sha256', digest: hash.digest('hex'), bytes: virtualBytes };
  } finally {
    await file.close();
  }
}
