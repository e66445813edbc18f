import { Failure } from '../../workflows/contract/failures';
import type { SeedPlan } from '../../workflows/contract/upload';
import type { HostDependencies } from '../dependencies';
import { firstBytesOf, rawFileOf, readFileParts, type SparseReader } from '../image/file-parts';
import { createHashedBody } from '../image/hashed-body';
import { createTransferProgress } from '../image/transfer-progress';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { openSnapshot } from '../kit/open-snapshot';
import type { ProgressReporter } from '../progress';

/**
 * Reads a snapshot and compares it with the image's record: its first bytes must have the hash, and zeros must follow. Heartbeats. Idempotent.
 * @throws InvalidRequest where it is something else, SnapshotNotFound (final); BackendUnavailable (retried).
 */
export function createCompareVolume(deps: HostDependencies) {
  return async function compareVolume(plan: SeedPlan): Promise<void> {
    const first = { stage: 'verifying', summary: `reading volume ${plan.volumeId}` } as const;
    await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const disk = await openSnapshot(deps, plan.backend, plan);
      try {
        await compare(disk, plan, reporter);
      } finally {
        await disk.close();
      }
    });
  };
}

async function compare(
  disk: SparseReader,
  { volumeId, imageId, imageBytes, algorithm, hash }: SeedPlan,
  reporter: ProgressReporter,
): Promise<void> {
  const refuse = (found: string): Failure =>
    new Failure('InvalidRequest', {
      field: 'volumeId',
      value: `${volumeId}, ${found}`,
      allowed: `a volume with the bytes of image ${imageId}, and zeros behind them`,
    });
  if (disk.sizeBytes < imageBytes) throw refuse(`which has ${disk.sizeBytes} bytes where the image has ${imageBytes}`);
  const progress = createTransferProgress(reporter, disk.sizeBytes);
  const hashed = createHashedBody(algorithm);
  try {
    const head = firstBytesOf(disk, imageBytes);
    for await (const _ of hashed.pass(readFileParts(rawFileOf(head), head), (bytes) => progress.verifying(bytes)))
      reporter.signal.throwIfAborted();
    const found = await hashed.digest();
    if (found !== hash) throw refuse(`whose first ${imageBytes} bytes have ${algorithm} ${found}`);
    let at = 0;
    for await (const block of readFileParts(rawFileOf(disk), disk)) {
      reporter.signal.throwIfAborted();
      const behind = block.subarray(Math.max(0, imageBytes - at));
      at += block.length;
      if (!isZero(behind)) throw refuse(`which has data behind byte ${imageBytes}`);
    }
  } finally {
    progress.end();
    await hashed.close();
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.length === 0 || (bytes[0] === 0 && bytes.compare(bytes, 1, bytes.length, 0, bytes.length - 1) === 0);
}
