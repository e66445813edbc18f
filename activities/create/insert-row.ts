import { insertVolume, type InsertVolumeOutcome } from '../../db/creates';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { Admission } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { isDead } from '../kit/runs';

/** @returns why no row is inserted. */
export function refusalOf(
  refused: Exclude<InsertVolumeOutcome, { kind: 'admitted' | 'available' }>,
  {
    volumeId,
    admission: { backend, projectId },
  }: { volumeId: VolumeId; admission: Pick<Admission, 'backend' | 'projectId'> },
): Failure {
  switch (refused.kind) {
    case 'conflict':
      return new Failure('Conflict', { volumeId, found: refused.found });
    case 'busy':
      return new Failure('VolumeBusy', { volumeId, workflowId: refused.workflowId });
    case 'deleted':
      return new Failure('VolumeDeleted', { volumeId });
    case 'no-room': {
      const { neededBytes, promisedBytes, mostBytes } = refused;
      const freeBytes = Math.max(0, mostBytes - promisedBytes);
      return new Failure('NoSpace', { backend, neededBytes, freeBytes, promisedBytes, mostBytes });
    }
    case 'over-quota': {
      const { kind: _, ...exceeded } = refused;
      return new Failure('QuotaExceeded', { projectId, ...exceeded });
    }
  }
}

/**
 * Temporal knows whether the run that makes the volume lives; the row does not. A dead run's row is taken over at once,
 * under any workflow id.
 */
export async function insertOrTakeOver(deps: ControlDependencies, row: Parameters<typeof insertVolume>[1]) {
  const inserted = await insertVolume(deps.database, row);
  if (inserted.kind !== 'busy' || !(await isDead(deps, inserted))) return inserted;
  return await insertVolume(deps.database, { ...row, deadRunId: inserted.runId });
}
