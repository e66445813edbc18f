import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import type {
  BackendName,
  ContentId,
  ImageId,
  InstallationId,
  ProjectId,
  SnapshotId,
  VolumeId,
} from '../../workflows/contract/ids';
import type { KnownPlace, Marker, SnapshotMarker, VolumeMarker, VolumeReplacement } from './backend';

/** Stored with a volume; `parent` is null for one that was not made of an image-volume. */
export interface StoredVolumeMarker {
  marker: VolumeMarker;
  parent: string | null;
  /** Of which it was made. */
  snapshot?: SnapshotId;
}

/** Stored with a snapshot. */
export interface StoredSnapshotMarker {
  marker: SnapshotMarker;
}

/** Owner of a place. */
export interface Claim {
  installation: InstallationId;
  backend: BackendName;
  /** Tells it from a place that was claimed for the same backend at another time, such as the directory below a mount point. Absent in old claims. */
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
  signature: z.string().optional(),
  short: z.string(),
});
export const imageVolumeMarkerSchema = z.object({
  kind: z.literal('image-volume'),
  installation: branded<InstallationId>(),
  name: z.string(),
  cacheKey,
  generation: z.int(),
  virtualBytes: sizeBytes,
});
export const storedVolumeMarkerSchema = z.object({
  parent: z.string().nullable(),
  snapshot: branded<SnapshotId>().optional(),
  marker: z.object({
    kind: z.literal('volume'),
    installation: branded<InstallationId>(),
    volumeId: branded<VolumeId>(),
    projectId: branded<ProjectId>(),
    name: z.string().nullable(),
    sizeBytes,
    cacheKey: cacheKey.optional(),
    content: branded<ContentId>().optional(),
  }),
});
const snapshotMarkerSchema = z.object({
  marker: z.object({
    kind: z.literal('snapshot'),
    installation: branded<InstallationId>(),
    snapshotId: branded<SnapshotId>(),
    volumeId: branded<VolumeId>(),
    projectId: branded<ProjectId>(),
    name: z.string().nullable(),
    sizeBytes,
    run: z.object({ workflowId: z.string(), runId: z.string() }).optional(),
  }),
});
const claimSchema = z.object({
  installation: branded<InstallationId>(),
  backend: branded<BackendName>(),
  place: z.string().optional(),
});

export const parseVolumeMarker = (text: string): StoredVolumeMarker | undefined =>
  parseStored(storedVolumeMarkerSchema, text);
export const parseSnapshotMarker = (text: string): SnapshotMarker | undefined =>
  parseStored(snapshotMarkerSchema, text)?.marker;
export const parseClaim = (text: string): Claim | undefined => parseStored(claimSchema, text);

/** @returns what JSON text says, or undefined when it is not of that shape. */
export function parseStored<Output>(schema: z.ZodType<Output>, text: string): Output | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** @returns whether two markers say the same, `undefined` fields and their absence alike. */
export function isSameMarker(a: Marker, b: Marker): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

/** @returns what a volume was made of, for people. */
function describeOrigin({ parent, snapshot }: Pick<StoredVolumeMarker, 'parent' | 'snapshot'>): string {
  if (snapshot !== undefined) return `a volume of snapshot ${snapshot}`;
  return parent === null ? 'a volume without a parent' : `a clone of ${parent}`;
}

/** @throws Conflict when `stored` is not what `wanted` says. */
export function checkSameVolume(stored: StoredVolumeMarker, wanted: StoredVolumeMarker): void {
  const { volumeId } = wanted.marker;
  if (stored.parent !== wanted.parent || stored.snapshot !== wanted.snapshot)
    throw new Failure('Conflict', { volumeId, found: `${describeOrigin(stored)} is there` });
  if (!isSameMarker(stored.marker, wanted.marker))
    throw new Failure('Conflict', { volumeId, found: 'a volume with another size, name, project or image is there' });
}

/**
 * @returns whether a volume has the bytes already that are to take the place of others.
 * @throws ForeignObject when another installation made it; Conflict when its bytes are neither these nor those that are to go.
 */
export function checkSameContent(
  { name: backend, installation }: { name: BackendName; installation: InstallationId },
  stored: StoredVolumeMarker | undefined,
  { marker: { volumeId, content }, former }: Pick<VolumeReplacement, 'marker' | 'former'>,
): boolean {
  if (stored?.marker.installation !== installation)
    throw new Failure('ForeignObject', { backend, object: `volume ${volumeId}` });
  const found = stored.marker.content ?? null;
  if (found !== content && found !== former)
    throw new Failure('Conflict', { volumeId, found: 'a volume with the bytes of another reimage is there' });
  return found === content;
}

/** @throws ForeignObject when another installation made it; SnapshotConflict when it is another snapshot. */
export function checkSameSnapshot(
  backend: BackendName,
  stored: SnapshotMarker | undefined,
  wanted: SnapshotMarker,
): SnapshotMarker {
  const { snapshotId, installation } = wanted;
  if (stored?.installation !== installation)
    throw new Failure('ForeignObject', { backend, object: `snapshot ${snapshotId}` });
  // A run that goes on with the work of another finds the other's.
  if (isSameMarker({ ...stored, run: undefined }, { ...wanted, run: undefined })) return stored;
  throw new Failure('SnapshotConflict', {
    snapshotId,
    found: 'a snapshot of another volume, or with another name, project or size, is there',
  });
}

/** @returns the id of a claimed place; an old claim has its installation's. */
export function placeIdOf({ place, installation }: Claim): string {
  return place ?? installation;
}

/** @throws ForeignObject when `text`, the claim of `where`, is not `claim`'s. */
export function checkOwnClaim(text: string, claim: Claim, where: string): Claim {
  const found = parseClaim(text);
  if (found?.installation === claim.installation && found.backend === claim.backend) return found;
  const owner = found ? `backend ${found.backend} of installation ${found.installation}` : 'an unknown shape';
  throw new Failure('ForeignObject', { backend: claim.backend, object: `${where} of ${owner}` });
}

/**
 * Refuses a place that is not the one which the inventory expects: a file system that is not mounted, or another cluster's pool.
 * @param there what was found instead, for people. @throws Error which says what is expected there.
 */
export async function refuseUnexpectedPlace(
  { claim, found }: { claim: Claim; found: Claim | undefined },
  known: KnownPlace,
  { there, question }: { there: string; question: string },
): Promise<void> {
  if (found !== undefined && (known.id === undefined || placeIdOf(found) === known.id)) return;
  const { installation, backend } = claim;
  const expectedId = known.id ?? placeIdOf(claim);
  if (known.lostId === expectedId) return;
  const holdings = await known.describeHoldings();
  if (holdings === undefined) return;
  throw new Error(
    `backends.${backend}: ${there}; expected is that of the place ${expectedId}, backend ${backend} of installation ${installation}, ` +
      `where the inventory has ${holdings}. Nothing was made there. ${question} ` +
      `Only if that place is lost for good, start once with IVC_LOST_PLACE=${expectedId}`,
  );
}
