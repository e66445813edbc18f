import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import { unlessAbsent } from '../../../lib/errno';
import type { KnownPlace } from '../backend';
import type { FileBackendContext } from './context';
import { publishFile, syncDirectory } from './durable';
import { newAttempt, type Layout } from './layout';
import { checkOwnClaim, placeIdOf, refuseUnexpectedPlace, type Claim } from '../markers';
import { writeJson } from './markers';

/**
 * Makes the directory and claims it for this installation's backend; a second call changes nothing. A directory without a claim may be the mount point of a
 * file system that is not mounted yet: where the inventory expects something, nothing is made.
 * @returns the id of the place.
 * @throws ForeignObject when another installation or backend has claimed it; Error which says what is expected there.
 */
export async function ensureDirectory(layout: Layout, claim: Claim, known: KnownPlace): Promise<string> {
  const found = await findClaim(layout, claim);
  const there =
    found === undefined
      ? `${layout.directory} has no backend.json`
      : `${layout.claim} is of the place ${placeIdOf(found)}`;
  await refuseUnexpectedPlace({ claim, found }, known, { there, question: 'Is its file system mounted?' });
  const { images, volumes, snapshots, partialImages, partialVolumes, partialSnapshots, clones } = layout;
  for (const path of [images, volumes, snapshots, partialImages, partialVolumes, partialSnapshots, clones])
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
  return checkOwnClaim(text, claim, layout.claim);
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
