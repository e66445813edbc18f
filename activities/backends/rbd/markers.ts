import { z } from 'zod';
import { imageVolumeMarkerSchema, parseStored } from '../markers';

/** Stored with an image-volume: its marker, and the bytes that it took when it was sealed. */
const storedSchema = z.object({ marker: imageVolumeMarkerSchema, realBytes: z.int().nonnegative() });

/** @returns undefined for what is no image-volume of ours. */
export function parseImageMarker(text: string | undefined): z.output<typeof storedSchema> | undefined {
  return text === undefined ? undefined : parseStored(storedSchema, text);
}
