import { cancellationSignal } from '@temporalio/activity';
import { forgetPointer, listPointers, markPointerReady } from '../../db/pointers';
import type { PointerRow } from '../../db/schema';
import { isFailure } from '../../workflows/contract/failures';
import type { ImageId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { PointerDescription } from '../backends/backend';
import { findLiveRun } from '../kit/runs';
import { MAKER, VOLUME_PROPERTY } from '../kit/uploaded-image';
import type { Repaired, ReconcileRun } from './reconcile-run';

const ROWS_AT_ONCE = 200;

/**
 * Compares the pointers of the backend with their images. The image service deletes a pointer with its image by itself: leftovers here are
 * those of a killed upload, or of such a deletion that is half-done. One that is whole while its image is not shown is never deleted: it may be this
 * account that lost its rights.
 */
export async function repairPointers(run: ReconcileRun): Promise<void> {
  const { backend } = run;
  if (backend.describeImagePointer === undefined) return;
  for await (const row of pointersOf(run)) {
    const found = await backend.describeImagePointer(row.imageId);
    const image = await findImage(run, row.imageId);
    if (image === undefined) await settleWithoutImage(run, { row, found });
    else if (await isUnfilled(run, { row, image })) await settleUnfilled(run, { row, found });
    else if (found.kind === 'absent') await settleAbsent(run, { row, image });
    else await settlePresent(run, { row, image, found });
  }
}

/** @returns undefined where the service shows none. */
async function findImage({ deps }: ReconcileRun, imageId: ImageId): Promise<Image | undefined> {
  try {
    return await deps.images.getImage(imageId, cancellationSignal());
  } catch (error) {
    if (isFailure(error, 'ImageNotFound')) return undefined;
    throw error;
  }
}

async function settleWithoutImage(
  run: ReconcileRun,
  { row, found }: { row: PointerRow; found: PointerDescription },
): Promise<void> {
  const { imageId, state, updatedAt } = row;
  if (found.kind === 'absent') return await forget(run, row);
  const finding = { kind: 'pointer-without-image', object: imageId, bytes: found.usedBytes } as const;
  if (state === 'ready' && found.isWhole) {
    const why = 'it is being deleted later, or this account may not see it any more';
    return run.findings.report({ ...finding, found: `the image service does not show image ${imageId}: ${why}` });
  }
  await run.findings.repair({
    finding: { ...finding, found: `image ${imageId} is gone, and its clone in the image service’s store is not` },
    since: updatedAt,
    repair: async () => await remove(run, row),
  });
}

/** Whether the image is queued and ours, and the run is dead that was to give it its bytes. */
async function isUnfilled({ deps }: ReconcileRun, { row, image }: { row: PointerRow; image: Image }): Promise<boolean> {
  const { workflowId, runId, state, projectId, volumeId } = row;
  const { status, owner, properties } = image;
  if (status !== 'queued' || state !== 'making' || workflowId === null || runId === null) return false;
  const isOurs = Object.entries({ ...MAKER, [VOLUME_PROPERTY]: volumeId }).every(
    ([key, value]) => properties[key] === value,
  );
  return isOurs && owner === projectId && (await findLiveRun(deps, { workflowId, runId })) === undefined;
}

/** Nobody gives the image its bytes any more: its record goes, then its clone. */
async function settleUnfilled(
  run: ReconcileRun,
  { row, found }: { row: PointerRow; found: PointerDescription },
): Promise<void> {
  const { imageId, updatedAt, workflowId } = row;
  await run.findings.repair({
    finding: {
      kind: 'pointer-without-image',
      object: imageId,
      bytes: found.kind === 'present' ? found.usedBytes : null,
      found: `image ${imageId} is queued, and ${workflowId}, which was to give it its bytes, does not run`,
    },
    since: updatedAt,
    repair: async () => {
      await deleteImage(run, imageId);
      return await remove(run, row);
    },
  });
}

/** The absent is done. */
async function deleteImage({ deps }: ReconcileRun, imageId: ImageId): Promise<void> {
  try {
    await deps.images.deleteImage(imageId);
  } catch (error) {
    if (!isFailure(error, 'ImageNotFound')) throw error;
  }
}

async function remove({ deps, backend }: ReconcileRun, row: PointerRow): Promise<Repaired> {
  const left = await backend.ensureImagePointerAbsent?.(row);
  if (left === 'needed') return { kept: 'clones still need it' };
  await forgetPointer(deps.database, row);
  return 'repaired';
}

/** The image has its bytes in another way, or nowhere; one that is still being made is left alone. */
async function settleAbsent(run: ReconcileRun, { row, image }: { row: PointerRow; image: Image }): Promise<void> {
  const { imageId, state, sizeBytes } = row;
  if (image.status === 'queued' || image.status === 'saving') return;
  if (state === 'making') return await forget(run, row);
  const found = `image ${imageId} is ${image.status}, and its clone in the image service’s store is gone`;
  run.findings.report({ kind: 'pointer-missing', object: imageId, found, bytes: sizeBytes });
}

async function forget({ deps, findings }: ReconcileRun, row: PointerRow): Promise<void> {
  // An upload that runs writes its row down first.
  if (findings.dryRun || findings.isYoung({ since: row.updatedAt })) return;
  await forgetPointer(deps.database, row);
}

async function settlePresent(
  run: ReconcileRun,
  { row, image, found }: { row: PointerRow; image: Image; found: PointerDescription & { kind: 'present' } },
): Promise<void> {
  const { deps, findings } = run;
  const { imageId, state, volumeId, sizeBytes, updatedAt } = row;
  if (image.status !== 'active' && image.status !== 'deactivated') return;
  if (state === 'making' && !findings.dryRun) await markPointerReady(deps.database, row);
  if (found.source !== 'deleted') return;
  await findings.repair({
    finding: {
      kind: 'pointer-of-deleted-volume',
      object: imageId,
      found: `image ${imageId} still reads from volume ${volumeId}, which was deleted`,
      bytes: sizeBytes,
    },
    since: updatedAt,
    repair: async () => await makeIndependent(run, row),
  });
}

/** It gets bytes of its own, so that the volume's can go. */
async function makeIndependent({ deps, backend, findings }: ReconcileRun, { imageId }: PointerRow): Promise<Repaired> {
  const done = await backend.ensureImagePointerIndependent?.(imageId, {
    bytesPerSecond: deps.config.schedules.scrubRate,
    signal: cancellationSignal(),
    onProgress: (fraction) => findings.at(`giving image ${imageId} bytes of its own: ${Math.round(100 * fraction)} %`),
  });
  return done === 'flattened' ? 'repaired' : 'unfounded';
}

async function* pointersOf({ deps, backend, findings }: ReconcileRun): AsyncIterable<PointerRow> {
  for (let afterId: ImageId | undefined; ;) {
    const rows = await listPointers(deps.database, { backend: backend.name, afterId, limit: ROWS_AT_ONCE });
    findings.compared(rows.length);
    for (const row of rows) {
      findings.at('checking images that are clones of volumes');
      yield row;
    }
    afterId = rows.at(-1)?.imageId;
    if (rows.length < ROWS_AT_ONCE) return;
  }
}
