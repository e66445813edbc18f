import { cancellationSignal } from '@temporalio/activity';
import { endUpload, listUploads } from '../../db/held-uploads';
import { readVolumes } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import { uuidPattern, type VolumeId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import { findLiveRun, isRunning } from '../kit/runs';
import { removeUnfilledImage } from '../kit/unfilled-image';
import { MAKER, RUN_PROPERTY, SNAPSHOT_PROPERTY, VOLUME_PROPERTY } from '../kit/uploaded-image';
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

/** Images of the backend's volumes that got no bytes, of runs that are dead, are removed: a terminated run does not do it itself. */
export async function repairUnfilledImages(run: ReconcileRun): Promise<void> {
  const { deps, findings } = run;
  const images = await listUnfilled(run);
  const volumes = await readVolumes(deps.database, images.map(volumeOf));
  findings.compared(images.length);
  for (const image of images) {
    const { id: imageId, owner, properties, status, updatedAt } = image;
    const workflowId = properties[RUN_PROPERTY] ?? '';
    const volume = volumes.get(volumeOf(image));
    if (volume?.backend !== run.backend.name || owner === null || (await isRunning(deps, { workflowId }))) continue;
    const found = `image ${imageId} of volume ${volume.id} is ${status}, and ${workflowId}, which was to give it its bytes, does not run`;
    await findings.repair({
      finding: { kind: 'image-without-bytes', object: imageId, found, bytes: null },
      since: new Date(updatedAt),
      repair: async () => {
        const of = { imageId, volumeId: volume.id, projectId: owner };
        return (await removeUnfilledImage(deps, of)) ? 'repaired' : 'unfounded';
      },
    });
  }
}

const volumeOf = ({ properties }: Image): VolumeId => (properties[VOLUME_PROPERTY] ?? '') as VolumeId;

/** @returns one page of each: the next run looks at others. None where the service does not answer: that keeps nothing else from being reconciled. */
async function listUnfilled({ deps }: ReconcileRun): Promise<Image[]> {
  const found: Image[] = [];
  try {
    for (const status of ['queued', 'saving'] as const) {
      const query = { status, properties: MAKER, limit: ROWS };
      found.push(...(await deps.images.listImages(query, cancellationSignal())).images);
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [];
  }
  // The image of a shared snapshot is filled by the next share.
  return found.filter(
    ({ properties }) =>
      properties[RUN_PROPERTY] !== undefined &&
      properties[SNAPSHOT_PROPERTY] === undefined &&
      uuidPattern.test(properties[VOLUME_PROPERTY] ?? ''),
  );
}
