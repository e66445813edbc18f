import { endUpload, listUploads } from '../../db/held-uploads';
import { findLiveRun } from '../kit/runs';
import type { ReconcileRun } from './reconcile-run';

/** Uploads that one run looks at; the next one looks at the others. */
const ROWS = 1000;

/** Volumes that are `uploading` for a run which is dead are so no longer. */
export async function repairUploads({ deps, backend, findings, workflowId, runId }: ReconcileRun): Promise<void> {
  const rows = await listUploads(deps.database, { backend: backend.name, limit: ROWS });
  findings.compared(rows.length);
  for (const { volumeId, imageId, startedAt, requestedBy, requestId, ...held } of rows) {
    if ((await findLiveRun(deps, held)) !== undefined) continue;
    const found = `volume ${volumeId} is uploading to image ${imageId}, and run ${held.runId} of ${held.workflowId} does not run`;
    await findings.repair({
      finding: { kind: 'stuck-upload', object: volumeId, found, bytes: null },
      since: startedAt,
      repair: async () => {
        const failure = { error: 'Internal', reason: 'its run ended without finishing it' };
        const source = { by: requestedBy ?? undefined, requestId: requestId ?? undefined, workflowId, runId };
        await endUpload(deps.database, { held, failure, source });
        return 'repaired';
      },
    });
  }
}
