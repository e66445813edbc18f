import { findKeysBeginning } from '../../db/entries/key-prefix';
import { pinEntries } from '../../db/evictions/pins';
import type { EvictionResult, PinTarget } from '../../workflows/contract/eviction';
import type { BackendName } from '../../workflows/contract/ids';
import { describeAmbiguity } from '../../workflows/contract/key-prefix';
import type { ControlDependencies } from '../dependencies';
import { checkNotLate } from './check-not-late';
import { workflowExecution } from '../kit/runs';
import { plural } from '../../workflows/contract/words';

/** What a change of the evictor's comes to. */
export type ChangeOutcome = Pick<EvictionResult, 'outcome' | 'summary'>;

/** Who asked, where nobody said. */
export const ANONYMOUS = 'an operator';

export interface PinRequest {
  backend: BackendName;
  target: PinTarget;
  pinned: boolean;
  by?: string;
}

/** Pins or unpins every ready entry that is meant. Idempotent. Undo: the opposite. */
export function createApplyPin(deps: ControlDependencies) {
  return async function applyPin({ backend, target, pinned, by = ANONYMOUS }: PinRequest): Promise<ChangeOutcome> {
    const { workflowId } = workflowExecution();
    await checkNotLate(deps);
    const keys =
      'cacheKey' in target ? await findKeysBeginning(deps.database, { backend, prefix: target.cacheKey }) : [];
    if ('cacheKey' in target && keys.length > 1)
      return { outcome: 'refused', summary: describeAmbiguity(target.cacheKey, keys) };
    const [cacheKey] = keys;
    const meant = cacheKey === undefined ? target : { cacheKey };
    const { matched, changed } = await pinEntries(deps.database, { backend, target: meant, pinned, by, workflowId });
    const [[field, value] = []] = Object.entries(target);
    const done = pinned ? 'pinned' : 'unpinned';
    if (matched === 0)
      return { outcome: 'nothing-to-do', summary: `no ready entry of backend ${backend} has ${field} ${value}` };
    if (changed === 0) return { outcome: 'nothing-to-do', summary: `${entries(matched)} ${done} already` };
    return { outcome: 'done', summary: `${entries(changed)} ${done} by ${by}` };
  };
}

function entries(count: number): string {
  return plural(count, 'entry was', 'entries were');
}
