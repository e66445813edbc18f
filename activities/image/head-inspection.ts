import type { FileHandle } from 'node:fs/promises';
import { KiB, MiB } from '../../workflows/contract/bytes';
import type { Image } from '../../workflows/contract/image';
import { inspectHead, refusalFailure } from './inspect';
import type { ImagePolicy } from './policy';

/**
 * Inspects an image while its bytes come, so that a hostile or too large one costs its first bytes and not all of them. Their hash is not known then: a
 * refusal may be due to damage.
 */
export interface HeadInspection {
  /** Takes a piece of the image that begins at byte `offset`; known bytes are skipped. @throws ImageRefused, ImageUnsupported (final). */
  see(piece: Buffer, offset: number): void;
  /** Takes what a file holds of the image already: its first `bytes`. @throws as `see`. */
  seeFile(file: FileHandle, bytes: number): Promise<void>;
}

/** Bytes after which a look is worth it: all signatures at fixed places, then the tables of nearly every image. */
const LOOK_AT_BYTES = [64 * KiB, MiB];

/** Looks at once: a size beyond policy needs no byte. @throws ImageRefused, ImageUnsupported (final). */
export function createHeadInspection(image: Image, policy: ImagePolicy): HeadInspection {
  const sizeBytes = image.sizeBytes ?? 0;
  const looks = LOOK_AT_BYTES.map((bytes) => Math.min(bytes, sizeBytes));
  let head = Buffer.alloc(0);
  let filled = 0;
  const look = (): void => {
    const verdict = inspectHead(head.subarray(0, filled), {
      declaredFormat: image.diskFormat ?? '',
      sizeBytes,
      policy,
    });
    if (verdict.kind === 'refused') throw refusalFailure(verdict, image.id, { bytesVerified: false });
  };
  look();
  const see = (piece: Buffer, offset: number): void => {
    const next = looks[0];
    if (next === undefined || offset > filled || offset + piece.length <= filled) return;
    if (head.length === 0) head = Buffer.alloc(looks.at(-1) ?? 0);
    filled += piece.copy(head, filled, filled - offset);
    if (filled < next) return;
    look();
    while (looks[0] !== undefined && looks[0] <= filled) looks.shift();
    if (looks.length === 0) head = Buffer.alloc(0);
  };
  return {
    see,
    async seeFile(file, bytes) {
      const piece = Buffer.alloc(Math.min(bytes, looks.at(-1) ?? 0));
      if (piece.length === 0) return;
      const { bytesRead } = await file.read(piece, 0, piece.length, 0);
      see(piece.subarray(0, bytesRead), 0);
    },
  };
}
