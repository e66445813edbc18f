import { createReadStream } from 'node:fs';
import { MiB } from '../../workflows/contract/bytes';
import { isFailure } from '../../workflows/contract/failures';
import { refuse, type ImageRefusal } from './formats/verdict';

/** Message of `qemu-img convert` when a driver cannot make guest bytes of the image's, or the disk below fails: it does not tell them apart. */
const READ_ERROR =
  /error while reading(?: block status)? at (?:byte|offset) \d+: (?:Input\/output error|Invalid argument)/;

/**
 * Tells whether a conversion failed by the image's own bytes: compressed data that is cut or damaged. Then the tool cannot read what the disk can.
 * @param error what the conversion threw. @param path the image's file, which is read to its end. @throws the signal's reason when aborted.
 */
export async function isDataUnreadable(
  error: unknown,
  { path, signal }: { path: string; signal?: AbortSignal },
): Promise<boolean> {
  const isReadError = isFailure(error, 'ToolFailed') && READ_ERROR.test(error.details.stderr);
  return isReadError && (await isFileReadable(path, signal));
}

/** @returns the refusal of such an image. */
export function unreadableData(error: unknown): ImageRefusal {
  const stderr = isFailure(error, 'ToolFailed') ? error.details.stderr : '';
  const place = /at (?:byte|offset) (\d+)/.exec(stderr)?.[1];
  return refuse('data-unreadable', {
    found: `guest bytes${place === undefined ? '' : ` from byte ${place} of the disk`} that qemu-img cannot read`,
    allowed: 'compressed data that is whole',
  });
}

async function isFileReadable(path: string, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: MiB, signal })) void chunk;
    return true;
  } catch {
    signal?.throwIfAborted();
    return false;
  }
}
