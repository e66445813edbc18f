import { randomUUID } from 'node:crypto';
import type { Caller } from '../workflows/contract/event-kinds';
import type { SnapshotId } from '../workflows/contract/ids';
import type { CreateSnapshotInput } from '../workflows/contract/snapshot';
import type { CreatePlainVolumeInput, CreateVolumeInput } from '../workflows/contract/volume';
import type { ImageVolumeCache } from './connection';
import type { OfProject } from './inventory';
import type { Snapshot, Volume } from './records';
import { PollPace } from './poll-pace';
import { runWorkflow } from './run-workflow';
import { createSnapshot, snapshotDeletionOf } from './snapshots';
import { untilSeen } from './until-seen';
import { uploadVolume, type StartedUpload, type UploadRequest } from './uploads';
import { createVolume, deletionOf, type VolumeDeletion } from './volumes';

const paces = {
  volume: new PollPace(),
  delete: new PollPace(),
  snapshot: new PollPace(),
  snapshotDelete: new PollPace(),
  upload: new PollPace(),
};

/**
 * Starts a create and returns as soon as its request was admitted and its row is in the inventory; the volume comes afterwards.
 * @throws ImageVolumeCacheError why it was refused; `WaitInterrupted` when `signal` is aborted first: the create goes on.
 */
export async function startVolume(
  cache: ImageVolumeCache,
  input: CreateVolumeInput | CreatePlainVolumeInput,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Volume> {
  const inventory = await cache.inventory();
  const started = await createVolume(cache, input, { wait: false });
  const { volumeId } = started;
  return await untilSeen(cache, started, {
    pace: paces.volume,
    signal,
    find: () => inventory.findVolume(volumeId, { projectId: input.projectId }),
  });
}

/** As `startVolume`, of a delete: its volume is `deleting`, or gone. */
export async function startDelete(
  cache: ImageVolumeCache,
  volumeId: string,
  { signal, ...input }: VolumeDeletion & { signal?: AbortSignal },
): Promise<void> {
  const inventory = await cache.inventory();
  const request = deletionOf(cache, volumeId, input);
  const started = await runWorkflow<unknown, { wait: false }>(cache, request, { options: { wait: false } });
  const find = async () => goneOf(await inventory.findVolume(request.input.volumeId));
  await untilSeen(cache, started, { pace: paces.delete, signal, find });
}

/** As `startVolume`, of a snapshot. */
export async function startSnapshot(
  cache: ImageVolumeCache,
  input: CreateSnapshotInput,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Snapshot> {
  const inventory = await cache.inventory();
  const snapshotId = (input.snapshotId ?? randomUUID()) as SnapshotId;
  const started = await createSnapshot(cache, { ...input, snapshotId }, { wait: false });
  const { projectId } = input;
  return await untilSeen(cache, started, {
    pace: paces.snapshot,
    signal,
    find: () => inventory.findSnapshot(snapshotId, { projectId }),
  });
}

/** As `startDelete`, of a snapshot. */
export async function startSnapshotDelete(
  cache: ImageVolumeCache,
  snapshotId: string,
  { signal, ...input }: OfProject & Caller & { signal?: AbortSignal },
): Promise<void> {
  const inventory = await cache.inventory();
  const request = snapshotDeletionOf(cache, snapshotId, input);
  const started = await runWorkflow<unknown, { wait: false }>(cache, request, { options: { wait: false } });
  const find = async () => goneOf(await inventory.findSnapshot(request.input.snapshotId));
  await untilSeen(cache, started, { pace: paces.snapshotDelete, signal, find });
}

/** As `startVolume`, of an upload that holds its volume: the image service has the image's record. */
export async function startUpload(
  cache: ImageVolumeCache,
  input: UploadRequest,
  { signal }: { signal?: AbortSignal } = {},
): Promise<StartedUpload> {
  const inventory = await cache.inventory();
  const started = await uploadVolume(cache, { ...input, holdVolume: true }, { wait: false });
  const { volumeId, imageId } = started;
  const find = async (isDone: boolean) => (isDone || (await inventory.isImageRecorded(imageId)) ? true : undefined);
  await untilSeen(cache, started, { pace: paces.upload, signal, find });
  return { volumeId, imageId };
}

/** @returns undefined while it is there and nobody deletes it. */
function goneOf(found: { state: string } | undefined): true | undefined {
  return found === undefined || found.state === 'deleting' || found.state === 'deleted' ? true : undefined;
}
