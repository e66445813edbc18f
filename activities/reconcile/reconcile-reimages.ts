import { listReimages } from '../../db/reimages';
import { deleteEntry } from '../kit/delete-entry';
import { findLiveRun } from '../kit/runs';
import { settleReimageOn } from '../kit/settle-reimage';
import type { ReconcileRun } from './reconcile-run';

/** Reimages that one run looks at; the next one looks at the others. */
const ROWS = 1000;

/** Reimages whose run is dead: finished where the volume has its new bytes already, undone where it has the old ones. */
export async function repairReimages(run: ReconcileRun): Promise<void> {
  const { deps, backend, findings, workflowId, runId } = run;
  const rows = await listReimages(deps.database, { backend: backend.name, limit: ROWS });
  findings.compared(rows.length);
  for (const { volumeId, contentId, imageId, startedAt, ...by } of rows) {
    if ((await findLiveRun(deps, by)) !== undefined) continue;
    const found = `volume ${volumeId} is being reimaged with image ${imageId}, and run ${by.runId} of ${by.workflowId} does not run`;
    await findings.repair({
      finding: { kind: 'stuck-reimage', object: volumeId, found, bytes: null },
      since: startedAt,
      repair: async () => {
        const source = { workflowId, runId };
        const { freed } = await settleReimageOn(deps, backend, { volumeId, contentId, source });
        for (const { entryId } of freed) await deleteEntry(deps, backend, { entryId, workflowId });
        return 'repaired';
      },
    });
  }
}
