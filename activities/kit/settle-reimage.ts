import { settleReimage } from '../../db/reimages';
import type { VolumeRow } from '../../db/schema';
import type { EventSource } from '../../db/events';
import type { ContentId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';

/**
 * Ends a reimage whose run does nothing more for it, as what is on the backend says. Idempotent.
 * @returns `volume` where it has the new bytes, and the parents that may be deleted now. @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export async function settleReimageOn(
  { database }: ControlDependencies,
  backend: VolumeBackend,
  { volumeId, contentId, source }: { volumeId: VolumeId; contentId: ContentId; source: EventSource },
): Promise<{ volume?: VolumeRow; freed: FreedEntry[] }> {
  const look = async () => await backend.settleReplaced(volumeId, contentId);
  return await settleReimage(database, { volumeId, contentId, source, look });
}
