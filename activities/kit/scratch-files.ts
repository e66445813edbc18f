import type { Database } from '../../db/client';
import { forgetScratch, removeScratchUser, forgetMissingScratch, listScratch } from '../../db/scratch-files';
import type { HostDependencies } from '../dependencies';
import type { Scratch } from '../image/scratch';

export async function releaseScratchOf(
  deps: HostDependencies,
  { contentHash, user }: { contentHash: string; user: string },
): Promise<void> {
  await releaseExpanded(deps, { contentHash, user });
  const { lastUser } = await removeScratchUser(deps.database, { hostId: deps.hostId, contentHash, user });
  if (lastUser && (await forgetScratch(deps.database, { hostId: deps.hostId, contentHash })))
    await deps.scratch.remove(contentHash);
}

/** Takes one user off the decompressed file of `contentHash`; the last one's release removes it. The absent is done. */
export async function releaseExpanded(
  { database, hostId, scratch }: HostDependencies,
  { contentHash, user }: { contentHash: string; user: string },
): Promise<void> {
  const expanded = { hostId, contentHash: expandedHashOf(contentHash) };
  const { lastUser } = await removeScratchUser(database, { ...expanded, user });
  if (lastUser && (await forgetScratch(database, expanded))) await scratch.remove(expanded.contentHash);
}

/** The decompressed bytes are a file of the scratch like any other, under a name of their own. */
export function expandedHashOf(contentHash: string): string {
  return `${contentHash}-expanded`;
}

/**
 * Makes rows and files of a host's scratch agree, before its worker does anything: files that no row names are removed, rows without a file are
 * forgotten, so that their bytes are free again. A flight that still wants such a file reserves it again. Idempotent.
 */
export async function tidyScratch(database: Database, scratch: Scratch): Promise<void> {
  const { hostId } = scratch;
  const known = new Set((await listScratch(database, { hostId })).map(({ contentHash }) => contentHash));
  const found = await scratch.list();
  for (const { contentHash } of found) if (!known.has(contentHash)) await scratch.remove(contentHash);
  await forgetMissingScratch(database, { hostId, present: found.map(({ contentHash }) => contentHash) });
}
