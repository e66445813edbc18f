import { forgetScratch, releaseScratch, releaseScratch as releaseScratchRow } from '../../db/scratch-files';
import type { HostDependencies } from '../dependencies';

export async function releaseScratchOf(
  deps: HostDependencies,
  { contentHash, user }: { contentHash: string; user: string },
): Promise<void> {
  await releaseExpanded(deps, { contentHash, user });
  const { lastUser } = await releaseScratchRow(deps.database, { hostId: deps.hostId, contentHash, user });
  if (lastUser && (await forgetScratch(deps.database, { hostId: deps.hostId, contentHash })))
    await deps.scratch.remove(contentHash);
}

/** Takes one user off the decompressed file of `contentHash`; the last one's release removes it. The absent is done. */
export async function releaseExpanded(
  { database, hostId, scratch }: HostDependencies,
  { contentHash, user }: { contentHash: string; user: string },
): Promise<void> {
  const expanded = { hostId, contentHash: expandedHashOf(contentHash) };
  const { lastUser } = await releaseScratch(database, { ...expanded, user });
  if (lastUser && (await forgetScratch(database, expanded))) await scratch.remove(expanded.contentHash);
}

/** The decompressed bytes are a file of the scratch like any other, under a name of their own. */
export function expandedHashOf(contentHash: string): string {
  return `${contentHash}-expanded`;
}
