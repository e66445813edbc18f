import { log } from '@temporalio/workflow';
import type { BackendName, HostId } from '../contract/ids';
import type { NoRoomHere } from '../contract/population';
import { describeRemedy } from '../contract/unserved';
import { onBackend, backendQueueOf } from './activity-profiles';
import { findTimeout } from './fail';

/** Tries to pick a host that has not been tried yet: chance decides which one answers. */
const PICKS = 5;

/** A host, and how often the work was moved on for want of room: the more often, the longer it waits for its turn. */
export interface PickedHost {
  hostId: HostId;
  moves: number;
}

export interface HostOptions {
  budgetMs?: number;
  /** A host that is known to reach the backend; default: one is picked. */
  first?: HostId;
  /** Hears of each host that is lost. */
  onLost?: (host: HostId) => void;
}

/**
 * Runs `work` on a host that reaches the backend; when that host is lost (nobody polls its queue any more), or has no
 * room in its scratch while another may have some, `work` begins again on another one. Where there is no other, it
 * waits for its turn on the same. Ends only by `work`'s result, its failure, or the budget.
 */
export async function withHost<Result extends object>(
  backend: BackendName,
  { budgetMs, first, onLost }: HostOptions,
  work: (host: PickedHost) => Promise<Result | NoRoomHere>,
): Promise<Result> {
  const full = new Set<HostId>();
  let known = first;
  for (let moves = 0; ;) {
    const hostId = known ?? (await pickHost(backend, budgetMs, full));
    known = undefined;
    try {
      const result = await work({ hostId, moves });
      if (!isNoRoom(result)) return result;
      log.info('no room in the scratch of a host, picking another', { hostId, backend });
      if (full.has(hostId)) full.clear();
      full.add(hostId);
      moves += 1;
    } catch (error) {
      if (findTimeout(error) !== 'SCHEDULE_TO_START') throw error;
      log.warn('host lost, picking another', { hostId, backend });
      onLost?.(hostId);
    }
  }
}

/** @returns a host that is not among the `full` ones, where one answers. */
async function pickHost(
  backend: BackendName,
  budgetMs: number | undefined,
  full: ReadonlySet<HostId>,
): Promise<HostId> {
  for (let picks = 1; ; picks += 1) {
    const { hostId } = await onBackend(backend, {
      summary: `pick a host that reaches the backend; nobody answers: ${describeRemedy(backendQueueOf(backend))}`,
      budgetMs,
    }).pickHost();
    if (!full.has(hostId) || picks === PICKS) return hostId;
  }
}

export function isNoRoom(result: object): result is NoRoomHere {
  return 'kind' in result && result.kind === 'no-room-here';
}
