import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { BackendName, ImageId, InstallationId, ProjectId, VolumeId } from '../../../workflows/contract/ids';
import type { ImageVolumeMarker, VolumeMarker } from '../backend';
import { writeNewFile } from './durable';
import { unlessAbsent } from '../../../lib/errno';

/** What is stored beside an image-volume: its marker and the seal that tells whether its bytes are still those that were sealed. */
export interface StoredImageMarker {
  marker: ImageVolumeMarker;
  /** Modification time that sealing gave the file: a whole second, so that any later write is seen. It survives a move of the directory. */
  sealedAtSeconds: number;
}

/** What is stored with a volume; `parent` is null for one that was written directly. */
export interface StoredVolumeMarker {
  marker: VolumeMarker;
  parent: string | null;
}

/** Whose directory this is. */
export interface Claim {
  installation: InstallationId;
  backend: BackendName;
  /** Tells it from a directory that was claimed for the same backend at another time, such as the one below its mount point. Absent in old claims. */
  place?: string;
}

const branded = <Brand extends string>() => z.custom<Brand>((value) => typeof value === 'string');
const sizeBytes = z.int().nonnegative();
const cacheKey = z.object({
  containerFormat: z.string(),
  diskFormat: z.string(),
  hashAlgorithm: z.string(),
  hashValue: z.string(),
  imageId: branded<ImageId>().optional(),
  short: z.string(),
});
const imageMarkerSchema = z.object({
  sealedAtSeconds: z.int(),
  marker: z.object({
    kind: z.literal('image-volume'),
    installation: branded<InstallationId>(),
    name: z.string(),
    cacheKey,
    generation: z.int(),
    virtualBytes: sizeBytes,
  }),
});
const volumeMarkerSchema = z.object({
  parent: z.string().nullable(),
  marker: z.object({
    kind: z.literal('volume'),
    installation: branded<InstallationId>(),
    volumeId: branded<VolumeId>(),
    projectId: branded<ProjectId>(),
    name: z.string().nullable(),
    sizeBytes,
    cacheKey,
  }),
});
const claimSchema = z.object({
  installation: branded<InstallationId>(),
  backend: branded<BackendName>(),
  place: z.string().optional(),
});

export const parseImageMarker = (text: string): StoredImageMarker | undefined => parse(imageMarkerSchema, text);
export const parseVolumeMarker = (text: string): StoredVolumeMarker | undefined => parse(volumeMarkerSchema, text);
export const parseClaim = (text: string): Claim | undefined => parse(claimSchema, text);

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

/** @returns the id of a claimed place; an old claim has its installation's. */
export function placeIdOf({ place, installation }: Claim): string {
  return place ?? installation;
}

/** Writes JSON to a new, durable file. */
export async function writeJson(path: string, value: StoredImageMarker | StoredVolumeMarker | Claim): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  await writeNewFile(path, { writes: [{ position: 0, bytes }], fileBytes: bytes.length });
}

/** @returns whether two markers say the same, `undefined` fields and their absence alike. */
export function isSameMarker(a: ImageVolumeMarker | VolumeMarker, b: ImageVolumeMarker | VolumeMarker): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

function parse<Output>(schema: z.ZodType<Output>, text: string): Output | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
