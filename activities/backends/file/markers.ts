import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { unlessAbsent } from '../../../lib/errno';
import type { ImageVolumeMarker, SnapshotMarker } from '../backend';
import {
  imageVolumeMarkerSchema,
  storedVolumeMarkerSchema,
  parseSnapshotMarker,
  parseStored,
  type Claim,
  type StoredSnapshotMarker,
  type StoredVolumeMarker,
} from '../markers';
import { writeNewFile } from './durable';

/** Stored beside an image-volume: its marker and the seal that tells whether its bytes are still those that were sealed. */
export interface StoredImageMarker {
  marker: ImageVolumeMarker;
  /** Modification time that sealing gave the file: a whole second, so that any later write is seen. It survives a move of the directory. */
  sealedAtSeconds: number;
}

const imageMarkerSchema = z.object({ sealedAtSeconds: z.int(), marker: imageVolumeMarkerSchema });

export const parseImageMarker = (text: string): StoredImageMarker | undefined => parseStored(imageMarkerSchema, text);

/** @returns the marker at `path`; undefined when there is none or it is not one of ours. */
export async function findImageMarker(path: string): Promise<StoredImageMarker | undefined> {
  const text = await unlessAbsent(readFile(path, 'utf8'));
  return text === undefined ? undefined : parseImageMarker(text);
}

/**
 * Stored beside a raw volume. `next`: of the file that is about to take the place of its bytes, from the moment that it has it: so bytes and marker
 * change in one step.
 */
export interface WrittenVolumeMarker extends StoredVolumeMarker {
  next?: { inode: number; stored: StoredVolumeMarker };
}

const writtenVolumeMarkerSchema = storedVolumeMarkerSchema.extend({
  next: z.object({ inode: z.int(), stored: storedVolumeMarkerSchema }).optional(),
});

/**
 * @param inode of the file that has the volume's bytes.
 * @returns its marker at `path`; undefined when there is none or it is not one of ours. `isSettled`: it tells of no other file.
 */
export async function findVolumeMarker(
  path: string,
  inode: number,
): Promise<{ stored: StoredVolumeMarker; isSettled: boolean } | undefined> {
  const text = await unlessAbsent(readFile(path, 'utf8'));
  const written = text === undefined ? undefined : parseStored(writtenVolumeMarkerSchema, text);
  if (written === undefined) return undefined;
  const { next, ...former } = written;
  return { stored: next?.inode === inode ? next.stored : former, isSettled: next === undefined };
}

/** @returns the marker at `path`; undefined when there is none or it is not one of ours. */
export async function findSnapshotMarker(path: string): Promise<SnapshotMarker | undefined> {
  const text = await unlessAbsent(readFile(path, 'utf8'));
  return text === undefined ? undefined : parseSnapshotMarker(text);
}

/** Writes JSON to a new, durable file. */
export async function writeJson(
  path: string,
  value: StoredImageMarker | WrittenVolumeMarker | StoredSnapshotMarker | Claim,
): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  await writeNewFile(path, { writes: [{ position: 0, bytes }], fileBytes: bytes.length });
}
