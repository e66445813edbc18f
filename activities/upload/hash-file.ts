import { createHashedBody } from '../image/hashed-body';
import { readFileParts, type ImageFile, type SparseReader } from '../image/file-parts';
import { createTransferProgress } from '../image/transfer-progress';
import type { ProgressReporter } from '../progress';

/** Glance's hash algorithm, unless its operator says otherwise. */
export const USUAL_HASH = 'sha512';

/** @param algorithm a name that node:crypto knows. @returns the hash of the whole file in hex; holes are not read. */
export async function hashFile(
  { file, disk }: { file: ImageFile; disk: SparseReader },
  { algorithm, reporter }: { algorithm: string; reporter: ProgressReporter },
): Promise<string> {
  const progress = createTransferProgress(reporter, file.sizeBytes);
  const hashed = createHashedBody(algorithm);
  try {
    for await (const _ of hashed.pass(readFileParts(file, disk), (bytes) => progress.verifying(bytes)))
      reporter.signal.throwIfAborted();
    return await hashed.digest();
  } finally {
    progress.end();
    await hashed.close();
  }
}
