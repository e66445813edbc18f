import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { KnownPlace } from '../backend';
import type { FileBackendContext } from './context';
import { publishFile, syncDirectory } from './durable';
import { newAttempt, type Layout } from './layout';
import { parseClaim, placeIdOf, writeJson, type Claim } from './markers';
import { unlessAbsent } from '../../../lib/errno';

/**
 * Makes the directory and claims it for this installation's backend; a second call changes nothing. A directory without a claim may be the mount point of a
 * file system that is not mounted yet: where the inventory expects something, nothing is made.
 * @returns the id of the place.
 * @throws ForeignObject when another installation or backend has claimed it; Error which says what is expected there.
 */
export async function ensureDirectory(layout: Layout, claim: Claim, known: KnownPlace): Promise<string> {
  const found = await findClaim(layout, claim);
  if (found === undefined || (known.id !== undefined && placeIdOf(found) !== known.id))
    await refuseUnexpected(layout, { claim, found }, known);
  const { images, volumes, partialImages, partialVolumes, clones } = layout;
  for (const path of [images, volumes, partialImages, partialVolumes, clones])
    await mkdir(path, { recursive: true, mode: 0o700 });
  const placeId = found === undefined ? await makeClaim(layout, claim) : placeIdOf(found);
  await syncDirectory(layout.directory);
  await syncDirectory(dirname(layout.directory)).catch(() => undefined); // The parent may be another user's.
  return placeId;
}

/**
 * Checks that the directory is the one that was claimed. Asked before anything that is missing is believed to be absent, and before anything is written:
 * below a mount that went away there is a directory too.
 * @throws BackendUnavailable when there is no claim, or that of another place; ForeignObject when it is another's.
 */
export async function checkClaim({ layout, installation, name, placeId }: FileBackendContext): Promise<void> {
  const found = await findClaim(layout, { installation, backend: name });
  if (found === undefined) throw notMounted(name, 'its directory has no backend.json: is it mounted?');
  const foundId = placeIdOf(found);
  if (foundId !== placeId)
    throw notMounted(name, `its directory is the place ${foundId}, not ${placeId}: is it mounted?`);
}

/** @returns undefined where nobody has claimed the directory. @throws ForeignObject when another has. */
async function findClaim(layout: Layout, claim: Claim): Promise<Claim | undefined> {
  const text = await unlessAbsent(readFile(layout.claim, 'utf8'));
  if (text === undefined) return undefined;
  const found = parseClaim(text);
  if (found?.installation === claim.installation && found.backend === claim.backend) return found;
  const owner = found ? `backend ${found.backend} of installation ${found.installation}` : 'an unknown shape';
  throw new Failure('ForeignObject', { backend: claim.backend, object: `${layout.claim} of ${owner}` });
}

async function refuseUnexpected(
  { directory, claim: path }: Layout,
  { claim, found }: { claim: Claim; found: Claim | undefined },
  known: KnownPlace,
): Promise<void> {
  const { installation, backend } = claim;
  const expectedId = known.id ?? placeIdOf(claim);
  if (known.lostId === expectedId) return;
  const holdings = await known.describeHoldings();
  if (holdings === undefined) return;
  const there =
    found === undefined ? `${directory} has no backend.json` : `${path} is of the place ${placeIdOf(found)}`;
  throw new Error(
    `backends.${backend}: ${there}; expected is that of the place ${expectedId}, backend ${backend} of installation ${installation}, ` +
      `where the inventory has ${holdings}. Nothing was made there. Is its file system mounted? ` +
      `Only when that place is lost for good, start once with IVC_LOST_PLACE=${expectedId}`,
  );
}

/** Of several workers one is first; its claim holds. */
async function makeClaim(layout: Layout, claim: Claim): Promise<string> {
  const place = randomUUID();
  const temporary = join(layout.directory, `backend.${newAttempt()}.json.partial`);
  await writeJson(temporary, { ...claim, place });
  if (await publishFile(temporary, layout.claim)) return place;
  const found = await findClaim(layout, claim);
  if (found === undefined) throw notMounted(claim.backend, 'its backend.json was removed while the backend was opened');
  return placeIdOf(found);
}

function notMounted(backend: string, cause: string): Failure {
  return new Failure('BackendUnavailable', { backend, cause });
}
