/**
 * `ReimageVolume`: a volume that is available, or in `error`, gets an image's bytes in place of its own, through the cache.
 *
 *   check, note -> find a ready entry, or open or join its flight -> lease it, clone it, let the clone take the volume's place -> available
 *                          ^        |                                 |
 *                          |        +-> bypass: write the image beside the volume, let that take its place -> available
 *                          +--- the parent takes no clone any more ---+
 *
 * Killed anywhere it has the old bytes or the new ones, and is finished; a failure before is undone. Where snapshots lie in the volume, the new bytes
 * are written in the place of the old ones: a failure then leaves it in `error`, and another reimage goes on.
 */
import { CancellationScope, setCurrentDetails, uuid4, workflowInfo } from '@temporalio/workflow';
import { formatBytes } from './contract/bytes';
import type { ContentId, EntryId, HostId } from './contract/ids';
import type { CacheKey } from './contract/image';
import { called } from './contract/markdown';
import type { FreedEntry } from './contract/population';
import type { VolumeNews } from './contract/server-events';
import type { Reimage, ReimageVolumeInput, ReimageVolumeResult } from './contract/volume-changes';
import type { BypassReason } from './contract/volume';
import { inTask, onBackend, onBackendInBulk, onHost } from './lib/activity-profiles';
import { describeReimaged, describeReimaging } from './lib/change-details';
import { deleteFreedEntries } from './lib/delete-freed-entries';
import { bypassReasons } from './lib/details';
import { findCached } from './lib/ensure-cached';
import { expectFailure, fail, failCancelled, failWith, isCancelled } from './lib/fail';
import { isNoRoom, withHost } from './lib/host-affinity';
import { tellServers } from './lib/tell-servers';
import { UndoStack } from './lib/undo-stack';

/** Parents that turn out unusable, one after the other: more than a few are no accident. */
const MAX_PARENTS = 3;

/** Set when the volume turned out to have its new bytes although a step failed or the run was cancelled. */
interface Settled {
  volume?: Pick<ReimageVolumeResult, 'sizeBytes' | 'connection'>;
}

export async function ReimageVolume(input: ReimageVolumeInput): Promise<ReimageVolumeResult> {
  const contentId = uuid4() as ContentId;
  const undo = new UndoStack();
  const settled: Settled = {};
  let begun: Begun | undefined;
  try {
    undo.before('the note of the reimage', () =>
      inTask({ summary: 'undo: forget the reimage' }, (a) => a.dropReimage({ contentId })),
    );
    begun = await begin(input, contentId);
    const { reimage } = begun;
    undo.before('the reimage', async () => Object.assign(settled, await settle(reimage, 'undo: end the reimage')));
    setCurrentDetails(describeReimaging(reimage));
    const result = await giveBytes(begun, undo);
    await tellOf(begun, input, 'completed');
    return tell(result);
  } catch (error) {
    const failure = isCancelled(error) ? undefined : expectFailure(error);
    await undo.run();
    if (begun) await tellOf(begun, input, settled.volume ? 'completed' : 'failed');
    if (settled.volume && begun) return tell(resultOf(begun.reimage, settled.volume));
    return failure === undefined ? failCancelled(error) : failWith(failure, error);
  }
}

/** A server that is rebuilt waits for its volume. An older version has not said whether there is one. */
async function tellOf(
  { reimage: { volumeId }, isReserved = false }: Begun,
  { by, requestId }: ReimageVolumeInput,
  status: VolumeNews['status'],
): Promise<void> {
  if (isReserved) await tellServers({ volumeId, event: 'volume-reimaged', status, by, requestId });
}

interface Begun {
  reimage: Reimage;
  cacheKey: CacheKey;
  bypass: BypassReason | null;
  imageName: string | null;
  conversionMs: number;
  isReserved?: boolean;
}

async function begin(input: ReimageVolumeInput, contentId: ContentId): Promise<Begun> {
  for (;;) {
    const step = { summary: 'check the volume and the image, note the reimage' };
    const begun = await inTask(step, (a) => a.beginReimage({ input, contentId }));
    if (begun.kind === 'begun') return begun;
    await settle(begun, 'end the reimage that a dead run has left');
  }
}

async function settle({ backend, ...reimage }: Pick<Reimage, 'volumeId' | 'contentId' | 'backend'>, summary: string) {
  const { volumeId, contentId } = reimage;
  const { volume, freedEntries } = await onBackend(backend, { summary }).settleReimage({ volumeId, contentId });
  await deleteFreedEntries(freedEntries);
  return { volume };
}

async function giveBytes(begun: Begun, undo: UndoStack): Promise<ReimageVolumeResult> {
  const { reimage } = begun;
  const { backend, imageId } = reimage;
  for (let parents = 0; parents < MAX_PARENTS; parents += 1) {
    const { bypass } = begun;
    const cached = bypass ? ({ kind: 'bypass', reason: bypass } as const) : await findCached({ imageId, backend });
    const given = cached.kind === 'ready' ? await replaceBytes(begun, cached) : await writeBytes(begun, undo);
    if (given.volume) undo.forget();
    await CancellationScope.nonCancellable(() => deleteFreedEntries(given.freedEntries));
    const how = cached.kind === 'bypass' ? `it was written directly: ${bypassReasons[cached.reason]}` : undefined;
    if (given.volume) return resultOf(reimage, given.volume, { bytesDownloaded: given.bytesDownloaded, how });
  }
  return fail('BackendUnavailable', { backend, cause: `${MAX_PARENTS} parents of image ${imageId} took no clone` });
}

interface Given {
  /** Undefined: the parent takes no clone any more. */
  volume?: Pick<ReimageVolumeResult, 'sizeBytes' | 'connection'>;
  freedEntries: FreedEntry[];
  bytesDownloaded?: number;
}

async function replaceBytes(
  { reimage, cacheKey }: Begun,
  { entryId, populated }: { entryId: EntryId; populated?: { bytesDownloaded: number } },
): Promise<Given> {
  const { volumeId, backend, imageId } = reimage;
  const step = { summary: `give volume ${volumeId} the bytes of image ${imageId}` };
  const { replaceBytes: replace } = onBackendInBulk(backend, step);
  const replaced = await replace({ reimage, cacheKey, entryId });
  const { freedEntries } = replaced;
  if (replaced.kind === 'cold') return { freedEntries };
  return { volume: replaced.volume, freedEntries, bytesDownloaded: populated?.bytesDownloaded };
}

/** Without the cache, as a create that bypasses it: callers of one host share the scratch file. */
async function writeBytes({ reimage, cacheKey, imageName, conversionMs }: Begun, undo: UndoStack): Promise<Given> {
  const { volumeId, backend, imageId } = reimage;
  const source = { backend, imageId, cacheKey };
  const user = workflowInfo().workflowId;
  const onLost = (host: HostId) => undo.leaveHost(host);
  return await withHost<Given>(backend, { onLost }, async ({ hostId, moves }) => {
    const move = { image: called(imageId, imageName), target: `volume ${volumeId}`, conversionMs };
    const { transfer, convert, cleanup } = onHost(hostId, move);
    undo.beforeOnHost(hostId, 'the scratch file', () => cleanup.releaseScratch({ source, user }));
    const scratch = await transfer.downloadToScratch({ source, user, moves });
    if (isNoRoom(scratch)) return scratch;
    const { bytesDownloaded } = scratch;
    return { ...(await convert.writeReimage({ reimage, cacheKey, user })), bytesDownloaded };
  });
}

function resultOf(
  { volumeId, imageId, formerImageId, backend }: Reimage,
  { sizeBytes, connection }: Pick<ReimageVolumeResult, 'sizeBytes' | 'connection'>,
  { bytesDownloaded = 0, how: known }: { bytesDownloaded?: number; how?: string } = {},
): ReimageVolumeResult {
  const how = known ?? (bytesDownloaded === 0 ? 'it was cached' : `${formatBytes(bytesDownloaded)} downloaded`);
  const summary = `volume ${volumeId} has the bytes of image ${imageId}; ${how}`;
  return { volumeId, imageId, formerImageId, backend, sizeBytes, connection, bytesDownloaded, summary };
}

function tell(result: ReimageVolumeResult): ReimageVolumeResult {
  setCurrentDetails(describeReimaged(result));
  return result;
}
