import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { unlessAbsent } from '../../../lib/errno';
import type { ImageVolumeMarker } from '../backend';
import {
  imageVolumeMarkerSchema,
  parseStored,
  parseVolumeMarker,
  type Claim,
  type StoredVolumeMarker,
} from '../markers';
import { writeNewFile } from './durable';

/** What is stored beside an image-volume: its marker and the seal that tells whether its bytes are still those that were sealed. */
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

/** @returns the marker at `path`; undefined when there is none or it is not one of ours. */
export async function findVolumeMarker(path: string): Promise<StoredVolumeMarker | undefined> {
  const text = await unlessAbsent(readFile(path, 'utf8'));
  return text === undefined ? undefined : parseVolumeMarker(text);
}

/** Writes JSON to a new, durable file. */
export async function writeJson(path: string, value: StoredImageMarker | StoredVolumeMarker | Claim): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  await writeNewFile(path, { writes: [{ position: 0, bytes }], fileBytes: bytes.length });
}
