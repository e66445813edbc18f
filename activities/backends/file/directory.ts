import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import { publishFile, syncDirectory } from './durable';
import { newAttempt, type Layout } from './layout';
import { parseClaim, writeJson } from './markers';

/**
 * Makes the directory and claims it for this installation's backend; a second call changes nothing.
 * @throws ForeignObject when another installation or backend has claimed it.
 */
export async function ensureDirectory(
  layout: Layout,
  claim: { installation: InstallationId; backend: BackendName },
): Promise<void> {
  await mkdir(layout.images, { recursive: true, mode: 0o700 });
  await mkdir(layout.volumes, { recursive: true, mode: 0o700 });
  await ensureClaim(layout, claim);
  await syncDirectory(layout.directory);
  await syncDirectory(dirname(layout.directory)).catch(() => undefined); // The parent may be another user's.
}

async function ensureClaim(
  layout: Layout,
  claim: { installation: InstallationId; backend: BackendName },
): Promise<void> {
  const temporary = join(layout.directory, `backend.${newAttempt()}.json.partial`);
  await writeJson(temporary, claim);
  if (await publishFile(temporary, layout.claim)) return;
  const found = parseClaim(await readFile(layout.claim, 'utf8'));
  if (found?.installation === claim.installation && found.backend === claim.backend) return;
  const object = `${layout.claim} of ${found ? `backend ${found.backend} of installation ${found.installation}` : 'an unknown shape'}`;
  throw new Failure('ForeignObject', { backend: claim.backend, object });
}
