import { giveParentBack, holdParent } from '../../db/reimages';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { FreedEntry } from '../../workflows/contract/population';
import type { Reimage } from '../../workflows/contract/volume-changes';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { giveUpParent, isParentTrouble } from '../kit/give-up-parent';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { giveBytes, reimagedOf, type Reimaged } from '../kit/reimage-bytes';
import { workflowExecution } from '../kit/runs';
import { settleReimageOn } from '../kit/settle-reimage';
import type { ProgressReporter } from '../progress';

export interface ReplaceBytesRequest {
  reimage: Reimage;
  cacheKey: CacheKey;
  entryId: EntryId;
}

export type ReplaceBytesOutcome =
  | { kind: 'done'; volume: Reimaged; freedEntries: FreedEntry[] }
  /** The parent takes no clone any more: another is needed. */
  | { kind: 'cold'; freedEntries: FreedEntry[] };

/**
 * Leases the new parent, gives the volume a clone of it in place of its bytes, or writes its bytes in their place where snapshots lie in the volume, and says
 * so in its row. Heartbeats. Idempotent; one that ends late does nothing. Undo: `settleReimage`.
 * @throws as `giveBytes`; ParentUnusable (final).
 */
export function createReplaceBytes(deps: BackendDependencies, name: BackendName) {
  return async function replaceBytes(request: ReplaceBytesRequest): Promise<ReplaceBytesOutcome> {
    const backend = backendHeld(deps, name);
    const { volumeId, imageId } = request.reimage;
    const first = { stage: 'cloning', summary: `giving volume ${volumeId} the bytes of image ${imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, (reporter) =>
      replace(deps, { backend, ...request }, reporter),
    );
  };
}

async function replace(
  deps: BackendDependencies,
  { backend, reimage, cacheKey, entryId }: ReplaceBytesRequest & { backend: VolumeBackend },
  reporter: ProgressReporter,
): Promise<ReplaceBytesOutcome> {
  const { cloneLimit } = backend.capabilities;
  const held = await holdParent(deps.database, {
    ...reimage,
    entryId,
    key: cacheKey,
    cloneLimit,
  });
  if (held.kind === 'cold') return { kind: 'cold', freedEntries: [] };
  try {
    const bytes = held.kind === 'held' ? { parent: held.entry.imageVolume, ...held.entry } : undefined;
    const { volume, freed } = await giveBytes(deps, { backend, reimage, cacheKey, bytes }, reporter);
    return { kind: 'done', volume, freedEntries: freed };
  } catch (error) {
    if (held.kind === 'ended' || !isParentTrouble(error)) throw error;
    const admission = { backend: backend.name, cacheKey };
    await giveUpParent(deps, backend, { volumeIds: [], entry: held.entry, admission, error });
    return { kind: 'cold', freedEntries: await giveParentBack(deps.database, reimage) };
  }
}

/**
 * Ends a reimage whose run does nothing more for it: undone, or finished where its bytes are the new ones already. Idempotent.
 * @throws BackendUnavailable (retried).
 */
export function createSettleReimage(deps: BackendDependencies, name: BackendName) {
  return async function settleReimage(
    reimage: Pick<Reimage, 'volumeId' | 'contentId'>,
  ): Promise<{ volume?: Reimaged; freedEntries: FreedEntry[] }> {
    const source = workflowExecution();
    const settled = await settleReimageOn(deps, backendHeld(deps, name), { ...reimage, source });
    return { ...(settled.volume && { volume: reimagedOf(settled.volume) }), freedEntries: settled.freed };
  };
}
