import type { Database } from '../../db/client';
import { forgetMissingScratch, forgetScratch, listScratch, removeScratchUser } from '../../db/scratch-files';
import type { HostDependencies } from '../dependencies';
import type { Scratch } from '../image/scratch';

/** One workflow's use of one content. */
interface ScratchUse {
  contentHash: string;
  user: string;
}

/**
 * Takes one user off a file of the scratch, and off what was decompressed of it; the last one's release removes it. The
 * absent is done.
 */
export async function releaseScratchOf(deps: HostDependencies, { contentHash, user }: ScratchUse): Promise<void> {
  await releaseExpanded(deps, { contentHash, user });
  await releaseFile(deps, { contentHash, user });
}

/** The same for what was decompressed of `contentHash` alone. */
export async function releaseExpanded(deps: HostDependencies, { contentHash, user }: ScratchUse): Promise<void> {
  await releaseFile(deps, { contentHash: expandedHashOf(contentHash), user });
}

async function releaseFile(
  { database, hostId, scratch }: HostDependencies,
  { contentHash, user }: ScratchUse,
): Promise<void> {
  const { lastUser } = await removeScratchUser(database, { hostId, contentHash, user });
  if (lastUser && (await forgetScratch(database, { hostId, contentHash }))) await scratch.remove(contentHash);
}

/** The decompressed bytes are a file of the scratch like any other, under a name of their own. */
export function expandedHashOf(contentHash: string): string {
  return `${contentHash}-expanded`;
}

/**
 * Makes rows and files of a host's scratch agree, before its worker does anything: files that no row names are removed,
 * rows without a file are forgotten, so that their bytes are free again. A flight that still wants such a file reserves
 * it again. Idempotent.
 */
export async function tidyScratch(database: Database, scratch: Scratch): Promise<void> {
  const { hostId } = scratch;
  const known = new Set((await listScratch(database, { hostId })).map(({ contentHash }) => contentHash));
  const found = await scratch.list();
  for (const { contentHash } of found) if (!known.has(contentHash)) await scratch.remove(contentHash);
  await forgetMissingScratch(database, { hostId, present: found.map(({ contentHash }) => contentHash) });
}
