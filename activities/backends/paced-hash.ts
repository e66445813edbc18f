import { createHash } from 'node:crypto';
import { pause } from '../../lib/abort';
import { dataRuns } from '../image/sparse-write';
import type { DigestOptions, ParentDigest } from './backend';

/** Lead over the pace before it waits: shorter waits cost more than they spare. */
const BURST_MS = 50;

/** Hashes guest bytes as they are read, no faster than `bytesPerSecond`. Zeros are hashed (they are mostly holes) and do not count for the pace. */
export function createPacedHash({ bytesPerSecond, signal, onProgress }: DigestOptions, totalBytes: number) {
  const hash = createHash('sha256');
  const startedAtMs = performance.now();
  let hashedBytes = 0;
  let pacedBytes = 0;
  return {
    /** @throws the signal's own reason when it is aborted. */
    async update(bytes: Buffer): Promise<void> {
      signal.throwIfAborted();
      hash.update(bytes);
      hashedBytes += bytes.length;
      onProgress(hashedBytes, totalBytes);
      if (dataRuns(bytes).length === 0) return;
      pacedBytes += bytes.length;
      const aheadMs = (pacedBytes / bytesPerSecond) * 1000 - (performance.now() - startedAtMs);
      if (aheadMs > BURST_MS) await pause(aheadMs, signal);
    },
    digest: (): ParentDigest => ({ algorithm: 'sha256', digest: hash.digest('hex'), bytes: hashedBytes }),
  };
}
