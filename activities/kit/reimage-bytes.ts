import { cancellationSignal } from '@temporalio/activity';
import { beginInPlace, finishReimage, type FinishReimageOutcome } from '../../db/reimages';
import type { VolumeRow } from '../../db/schema';
import { GiB } from '../../workflows/contract/bytes';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { CacheKey, Image } from '../../workflows/contract/image';
import type { FreedEntry } from '../../workflows/contract/population';
import type { Connection } from '../../workflows/contract/volume';
import type { Reimage } from '../../workflows/contract/volume-changes';
import type { NewBytes, VolumeBackend, VolumeReplacement } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import type { ProgressReporter } from '../progress';
import { workflowExecution } from './runs';

/** The states of a volume that may get other bytes, for people. */
export const REIMAGABLE = 'available or error';

export interface Reimaged {
  sizeBytes: number;
  connection: Connection;
}

interface GiveBytes {
  backend: VolumeBackend;
  reimage: Reimage;
  cacheKey: CacheKey;
  /** Undefined where the reimage has ended: it is told what became of the volume. */
  bytes: (NewBytes & { virtualBytes: number }) | undefined;
}

/**
 * Gives a volume its new bytes in one step, or in place where its snapshots lie in it, and says so in its row. One in `error` that is not on the backend is
 * made there. Idempotent; one that ends late does nothing. Undo: `settleReimage`.
 * @throws VolumeNotFound, VolumeNotReady, VolumeInUse, VolumeHasSnapshots, InvalidRequest (size), NoSpace, ParentUnusable, CreateCancelled (final);
 *   VolumeBusy, ToolFailed, BackendUnavailable (retried).
 */
export async function giveBytes(
  deps: BackendDependencies,
  giving: GiveBytes,
  reporter: ProgressReporter,
): Promise<{ volume: Reimaged; freed: FreedEntry[] }> {
  try {
    return await finish(deps, giving);
  } catch (error) {
    if (!isFailure(error, 'VolumeHasSnapshots') || giving.backend.ensureRewritten === undefined) throw error;
  }
  await rewrite(deps, giving, reporter);
  return await finish(deps, giving);
}

async function finish(
  deps: BackendDependencies,
  giving: GiveBytes,
): Promise<{ volume: Reimaged; freed: FreedEntry[] }> {
  const { volumeId, contentId, imageId } = giving.reimage;
  const image = await deps.images.getImage(imageId, cancellationSignal());
  const finished = await finishReimage(deps.database, {
    volumeId,
    contentId,
    source: workflowExecution(),
    replace: async (volume) => {
      checkFits(volume, image, giving.bytes?.virtualBytes ?? 0);
      return await replaceOrMake(giving.backend, replacementOf(deps, giving, volume), volume);
    },
  });
  if (finished.kind === 'done') return { volume: reimagedOf(finished.volume), freed: finished.freed };
  if (finished.kind === 'done-before') return { volume: reimagedOf(finished.volume), freed: [] };
  throw refusalFor(volumeId, finished);
}

async function replaceOrMake(
  backend: VolumeBackend,
  replacement: VolumeReplacement,
  { state }: VolumeRow,
): Promise<Connection> {
  try {
    return await backend.ensureReplaced(replacement);
  } catch (error) {
    if (state === 'available' || !isFailure(error, 'VolumeNotFound')) throw error;
    const { parent, target, marker } = replacement;
    return await (target === undefined ? backend.ensureClone(parent, marker) : backend.publishVolume(target, marker));
  }
}

/** The row is not locked while the bytes are written: its state keeps others away. */
async function rewrite(deps: BackendDependencies, giving: GiveBytes, reporter: ProgressReporter): Promise<void> {
  const { volumeId, contentId, imageId } = giving.reimage;
  const begun = await beginInPlace(deps.database, { volumeId, contentId });
  if (begun.kind !== 'begun') throw refusalFor(volumeId, begun);
  const onProgress = (fraction: number): void => {
    const done = `${Math.round(100 * fraction)} %`;
    const summary = `writing image ${imageId} into volume ${volumeId}, which has snapshots: ${done}`;
    reporter.report({ stage: 'converting', summary });
  };
  const { signal } = reporter;
  await giving.backend.ensureRewritten?.(replacementOf(deps, giving, begun.volume), { signal, onProgress });
}

function replacementOf(
  { installation }: BackendDependencies,
  { reimage: { volumeId, contentId }, cacheKey, bytes }: GiveBytes,
  { projectId, name, sizeBytes, contentId: former }: VolumeRow & { sizeBytes: number },
): VolumeReplacement {
  if (bytes === undefined) throw new Error(`there are no new bytes for volume ${volumeId}`);
  const of = { volumeId, projectId, name, sizeBytes, cacheKey, content: contentId };
  const marker = { kind: 'volume', installation, ...of } as const;
  const { parent, target } = bytes;
  return target === undefined ? { parent, marker, former } : { target, marker, former };
}

function refusalFor(
  volumeId: VolumeId,
  refused: Exclude<FinishReimageOutcome, { kind: 'done' | 'done-before' }>,
): Failure {
  switch (refused.kind) {
    case 'absent':
      return new Failure('VolumeNotFound', { volumeId });
    case 'volume-state':
      return new Failure('VolumeNotReady', { volumeId, state: refused.state, allowed: REIMAGABLE });
    case 'in-use':
      return new Failure('VolumeInUse', { volumeId, by: refused.by });
    case 'busy':
      return new Failure('VolumeBusy', { volumeId, workflowId: refused.workflowId });
    case 'ended':
      return new Failure('CreateCancelled', { volumeId });
  }
}

export function reimagedOf({ id, sizeBytes, connection }: VolumeRow): Reimaged {
  if (sizeBytes === null || connection === null) throw new Error(`volume ${id} is not whole`);
  return { sizeBytes, connection };
}

/** @throws InvalidRequest (final). */
export function checkFits(
  { id, sizeBytes }: Pick<VolumeRow, 'id'> & { sizeBytes: number },
  { minDiskGiB }: Pick<Image, 'minDiskGiB'>,
  virtualBytes: number,
): void {
  const minDiskBytes = minDiskGiB * GiB;
  const refuse = (allowed: string) => refuseVolume(`${id}, which has ${sizeBytes} bytes`, allowed);
  if (sizeBytes < minDiskBytes)
    throw refuse(`one of at least ${minDiskBytes}, the image's min_disk of ${minDiskGiB} GiB`);
  if (sizeBytes < virtualBytes) throw refuse(`one of at least ${virtualBytes}, the image's virtual size`);
}

export function refuseVolume(value: string, allowed: string): Failure {
  return new Failure('InvalidRequest', { field: 'volumeId', value, allowed });
}
