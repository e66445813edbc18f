import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, ImageId, InstallationId, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { ImageVolumeMarker, KnownPlace, VolumeMarker } from './backend';

/** What is stored with a volume; `parent` is null for one that was written directly. */
export interface StoredVolumeMarker {
  marker: VolumeMarker;
  parent: string | null;
}

/** Whose place this is. */
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

export const parseVolumeMarker = (text: string): StoredVolumeMarker | undefined =>
  parseStored(volumeMarkerSchema, text);
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
export function isSameMarker(a: ImageVolumeMarker | VolumeMarker, b: ImageVolumeMarker | VolumeMarker): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
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
