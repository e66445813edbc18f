import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { FileBackendContext } from './context';
import { publishFile, syncDirectory } from './durable';
import { unlessAbsent } from './errors';
import { newAttempt, type Layout } from './layout';
import { parseClaim, writeJson, type Claim } from './markers';

/**
 * Makes the directory and claims it for this installation's backend; a second call changes nothing.
 * @throws ForeignObject when another installation or backend has claimed it.
 */
export async function ensureDirectory(layout: Layout, claim: Claim): Promise<void> {
  const { images, volumes, partialImages, partialVolumes, clones } = layout;
  for (const path of [images, volumes, partialImages, partialVolumes, clones])
    await mkdir(path, { recursive: true, mode: 0o700 });
  await ensureClaim(layout, claim);
  await syncDirectory(layout.directory);
  await syncDirectory(dirname(layout.directory)).catch(() => undefined); // The parent may be another user's.
}

/**
 * Checks that the directory is the one that was claimed. Asked before anything that is missing is believed to be absent:
 * below a mount that went away there is an empty directory.
 * @throws BackendUnavailable when there is no claim; ForeignObject when it is another's.
 */
export async function checkClaim({ layout, installation, name }: FileBackendContext): Promise<void> {
  const text = await unlessAbsent(readFile(layout.claim, 'utf8'));
  if (text === undefined)
    throw new Failure('BackendUnavailable', {
      backend: name,
      cause: 'its directory has no backend.json: is it mounted?',
    });
  refuseForeignClaim(layout, parseClaim(text), { installation, backend: name });
}

async function ensureClaim(layout: Layout, claim: Claim): Promise<void> {
  const temporary = join(layout.directory, `backend.${newAttempt()}.json.partial`);
  await writeJson(temporary, claim);
  if (await publishFile(temporary, layout.claim)) return;
  refuseForeignClaim(layout, parseClaim(await readFile(layout.claim, 'utf8')), claim);
}

function refuseForeignClaim(layout: Layout, found: Claim | undefined, claim: Claim): void {
  if (found?.installation === claim.installation && found.backend === claim.backend) return;
  const owner = found ? `backend ${found.backend} of installation ${found.installation}` : 'an unknown shape';
  throw new Failure('ForeignObject', { backend: claim.backend, object: `${layout.claim} of ${owner}` });
}
