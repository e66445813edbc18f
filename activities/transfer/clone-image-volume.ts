import type { Image } from '../../workflows/contract/image';
import type { PopulateInput, ReservedEntry, StreamedImageVolume } from '../../workflows/contract/population';
import type { VolumeBackend } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { parseExpectedBytes, type ExpectedBytes } from '../image/expected-bytes';
import type { GuestReader } from '../image/guest-reader';
import type { TrustedSignature } from '../image/image-signature';
import { createTransferProgress } from '../image/transfer-progress';
import { checkSigned, haveSignature } from '../image/verify-signature';
import type { ProgressReporter } from '../progress';
import { attemptName, removeEarlierAttempts, seal } from './attempt';
import { cloneFromVolume, findStoredVolume } from './stored-volume';
import { checkWritten, inspectGuestBytes } from './inspect-image';

interface Cloning {
  input: PopulateInput;
  entry: ReservedEntry;
  image: Image;
  /** Signature that its bytes must have besides the record's hash. */
  signature: TrustedSignature | undefined;
  backend: VolumeBackend;
}

/**
 * Makes the image-volume a clone of the image itself, where the image service keeps that in the backend's own cluster:
 * no byte is downloaded. Its bytes are hashed and inspected where they are, by the same rules as those that come over the
 * network, and read once more where a signature is to be verified; bytes without the record's hash are left to a download, which tells why.
 * @returns `unsuitable`, and why in `transfer` where the backend clones images at all.
 * @throws ImageNotFound, ImageNotActive, ImageRefused, ImageUnsupported, NoSpace (final); ImageServiceUnavailable,
 * BackendUnavailable (retried).
 */
export async function cloneImageVolume(
  deps: HostDependencies,
  { input, entry, image, signature, backend }: Cloning,
  reporter: ProgressReporter,
): Promise<StreamedImageVolume> {
  if (backend.cloneStoredImage === undefined) return { kind: 'unsuitable' };
  if (image.diskFormat !== 'raw') return mustBeDownloaded('only raw images are cloned');
  if (backend.openReader === undefined) return mustBeDownloaded('its bytes could not be checked without librbd');
  const startedAtMs = performance.now();
  const { imageId } = input;
  const expected = parseExpectedBytes(image);
  const locations = await deps.images.listLocations(imageId, reporter.signal);
  await removeEarlierAttempts(backend, entry);
  const attempt = { kind: 'image-volume', name: entry.imageVolume, attempt: attemptName() } as const;
  try {
    const { sizeBytes } = expected;
    const stored = await findStoredVolume(deps, { image, sizeBytes, locations, backend });
    const cloned =
      stored === undefined
        ? await backend.cloneStoredImage({ ...attempt, imageId: image.id, sizeBytes, locations })
        : await cloneFromVolume(deps, { backend, stored, image: { ...attempt, sizeBytes } });
    if (cloned.kind === 'elsewhere') return mustBeDownloaded(cloned.reason);
    const { target } = cloned;
    // Only of the record's own bytes it can be said for good that they do not have its signature.
    const verify = cloned.verify || signature !== undefined;
    const reader = await backend.openReader(attempt);
    try {
      if (verify && !(await hasItsHash(reader, expected, reporter))) {
        await backend.ensureAttemptAbsent(attempt);
        return mustBeDownloaded('what is there does not have the hash of its record');
      }
      const bytes = { sizeBytes, read: (offset: number, lengthBytes: number) => reader.read(offset, lengthBytes) };
      if (signature !== undefined) checkSigned(image, await haveSignature(signature.check, bytes, reporter));
      reporter.report({ stage: 'inspecting', summary: `inspecting image ${imageId}` });
      const source = { imageId, diskFormat: image.diskFormat, sizeBytes, bytesVerified: verify };
      await inspectGuestBytes(deps, source, bytes.read);
    } finally {
      await reader.close();
    }
    await checkWritten(deps, imageId, { backend, target, kind: 'image-volume', name: entry.imageVolume });
    reporter.report({ stage: 'sealing', summary: `sealing image-volume ${entry.imageVolume}` });
    const { virtualBytes } = target;
    const sealed = await seal(deps, backend, { source: input, entry, target, virtualBytes });
    const ms = Math.round(performance.now() - startedAtMs);
    deps.metrics.populationStage({ backend: backend.name, stage: 'clone' }, ms / 1000);
    const transfer = 'it was cloned from the image service’s store, and no byte was downloaded';
    return { kind: 'streamed', ...sealed, bytesDownloaded: 0, downloadMs: 0, convertMs: ms, transfer };
  } catch (error) {
    await backend.ensureAttemptAbsent(attempt);
    throw error;
  }
}

function mustBeDownloaded(reason: string): StreamedImageVolume {
  return { kind: 'unsuitable', transfer: `it was downloaded, not cloned: ${reason}` };
}

async function hasItsHash(
  reader: GuestReader,
  { algorithm, hash, sizeBytes }: ExpectedBytes,
  reporter: ProgressReporter,
): Promise<boolean> {
  const progress = createTransferProgress(reporter, sizeBytes);
  const { signal } = reporter;
  const onProgress = (bytesDone: number): void => progress.verifying(bytesDone);
  try {
    return (await reader.hash({ algorithm, lengthBytes: sizeBytes, signal, onProgress })) === hash;
  } finally {
    progress.end();
  }
}
