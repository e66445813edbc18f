import { listLowestImageVolumes, noteReclaimable, scoreEntries } from '../../db/evictions/entry-scores';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { scoreOf, USE_HALF_LIFE_MS } from '../eviction/score';

/** Image-volumes that the backend is asked about in one sweep: those that may go first. */
const ASKED_ROWS = 300;
const ASKED_AT_ONCE = 16;
/** Scores that are this old are worked out anew: what nobody uses sinks by at most a twelfth between. */
const SCORE_AGE_MS = USE_HALF_LIFE_MS / 8;

/** Brings the scores of a backend's entries up to date: uses since the last time, decay, and what a deletion would give back. Idempotent. */
export async function scoreBackend(
  { database }: ControlDependencies,
  backend: VolumeBackend,
  onStep: (summary: string) => void,
): Promise<void> {
  await scoreEntries(database, {
    backend: backend.name,
    staleMs: SCORE_AGE_MS,
    score: scoreOf,
    onBatch: (scored) => onStep(`scored ${scored} entries`),
  });
  if (backend.reclaimableBytes === undefined) return;
  const lowest = await listLowestImageVolumes(database, { backend: backend.name, limit: ASKED_ROWS });
  const found = [];
  for (let from = 0; from < lowest.length; from += ASKED_AT_ONCE) {
    const batch = lowest.slice(from, from + ASKED_AT_ONCE);
    const answers = await Promise.all(
      batch.map(async ({ imageVolume }) => await backend.reclaimableBytes?.(imageVolume)),
    );
    found.push(...batch.map(({ entryId }, index) => ({ entryId, bytes: answers[index] ?? 0 })));
    onStep(`asked the backend about ${found.length} image-volumes`);
  }
  await noteReclaimable(database, { found });
}
