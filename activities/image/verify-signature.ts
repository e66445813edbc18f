import { open } from 'node:fs/promises';
import { MiB } from '../../workflows/contract/bytes';
import type { Image } from '../../workflows/contract/image';
import type { ProgressReporter } from '../progress';
import { startHashThread } from './hash-thread';
import { signatureRefused, type SignatureCheck } from './image-signature';
import { createTransferProgress } from './transfer-progress';

const PIECE_BYTES = 4 * MiB;

interface SignedBytes {
  sizeBytes: number;
  /** @returns fewer bytes than asked for only at the end. */
  read(this: void, offset: number, lengthBytes: number): Promise<Buffer>;
}

/** Reads bytes that have come without being verified, and says whether they have the signature. @throws the reporter's abort as its reason. */
export async function haveSignature(
  signature: SignatureCheck,
  { sizeBytes, read }: SignedBytes,
  reporter: ProgressReporter,
): Promise<boolean> {
  const thread = startHashThread({ signature });
  const progress = createTransferProgress(reporter, sizeBytes);
  const block = new SharedArrayBuffer(PIECE_BYTES);
  try {
    for (let offset = 0; offset < sizeBytes;) {
      reporter.signal.throwIfAborted();
      const bytes = await read(offset, Math.min(PIECE_BYTES, sizeBytes - offset));
      if (bytes.length === 0) throw new Error(`the bytes end at ${offset} of ${sizeBytes} while they are read`);
      bytes.copy(Buffer.from(block));
      await thread.update(block, bytes.length);
      offset += bytes.length;
      progress.verifying(offset);
    }
    return (await thread.isSigned()) === true;
  } finally {
    progress.end();
    await thread.close();
  }
}

/** The same of a whole file. */
export async function fileHasSignature(
  signature: SignatureCheck,
  { path, bytes: sizeBytes }: { path: string; bytes: number },
  reporter: ProgressReporter,
): Promise<boolean> {
  await using file = await open(path, 'r');
  const read = async (offset: number, lengthBytes: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(lengthBytes), 0, lengthBytes, offset);
    return buffer.subarray(0, bytesRead);
  };
  return await haveSignature(signature, { sizeBytes, read }, reporter);
}

/** @throws ImageRefused of bytes that have the hash of the record, but not the signature (final). */
export function checkSigned(image: Image, isSigned: boolean): void {
  if (isSigned) return;
  const by = `certificate ${image.properties['img_signature_certificate_uuid'] ?? 'none'}`;
  throw signatureRefused(image, {
    found: 'bytes that do not have the signature',
    allowed: `bytes that are signed by ${by}`,
    bytesVerified: true,
  });
}
