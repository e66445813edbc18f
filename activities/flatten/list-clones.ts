import { listClones as listClonesOfEntry } from '../../db/entries/clones';
import type { EntryId, VolumeId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';

/** Clones that one call answers with. */
const CLONES_AT_ONCE = 100;

/** Live clones that hold an entry, by id, after `afterVolumeId`; none when there are no more. */
export function createListClones({ database }: ControlDependencies) {
  return async function listClones(request: { entryId: EntryId; afterVolumeId?: VolumeId }): Promise<VolumeId[]> {
    return await listClonesOfEntry(database, { ...request, limit: CLONES_AT_ONCE });
  };
}
