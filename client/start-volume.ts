import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller } from '../workflows/contract/event-kinds';
import type { SnapshotId } from '../workflows/contract/ids';
import type { CreateSnapshotInput } from '../workflows/contract/snapshot';
import type { CreatePlainVolumeInput, CreateVolumeInput } from '../workflows/contract/volume';
import type { ImageVolumeCache } from './connection';
import type { OfProject } from './inventory';
import type { Snapshot, Volume } from './records';
import { interruptible, reportingErrors, runWorkflow, type StartedRun } from './run-workflow';
import { createSnapshot, snapshotDeletionOf } from './snapshots';
import { uploadVolume, type StartedUpload, type UploadRequest } from './uploads';
import { createVolume, deletionOf, type VolumeDeletion } from './volumes';

/** From the start of a run on: its row is there after some ten milliseconds, or a foreign service is slow. */
const FIRST_LOOK_MS = 4;
const MOST_BETWEEN_LOOKS_MS = 250;
const SLOWER = 1.15;

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
  await untilSeen(cache, started, { signal, find });
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
  await untilSeen(cache, started, { signal, find });
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
  await untilSeen(cache, started, { signal, find });
  return { volumeId, imageId };
}

/** @returns undefined while it is there and nobody deletes it. */
function goneOf(found: { state: string } | undefined): true | undefined {
  return found === undefined || found.state === 'deleting' || found.state === 'deleted' ? true : undefined;
}

/**
 * Waits until the inventory shows what a run does first, or until the run ends. @param find what is looked for; undefined: it is not there yet. `isDone`:
 * the run has ended well.
 * @throws ImageVolumeCacheError why the run failed before; `WaitInterrupted` when `signal` is aborted first.
 */
export async function untilSeen<Found>(
  cache: ImageVolumeCache,
  { workflowId, runId }: StartedRun,
  { find, signal }: { find: (isDone: boolean) => Promise<Found | undefined>; signal?: AbortSignal },
): Promise<Found> {
  const seen = new AbortController();
  const waiting = signal === undefined ? seen.signal : AbortSignal.any([seen.signal, signal]);
  let ended: { failure?: unknown } | undefined;
  const run = reportingErrors(cache, workflowId, (client) =>
    interruptible(client, { workflowId, signal: waiting }, () => client.workflow.getHandle(workflowId, runId).result()),
  ).then(
    () => (ended = {}),
    (failure: unknown) => (ended = { failure }),
  );
  try {
    for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(pauseMs * SLOWER, MOST_BETWEEN_LOOKS_MS)) {
      await Promise.race([sleep(pauseMs), run]);
      // Before the look: what ended has written before.
      const last = ended;
      const found = await find(last !== undefined && last.failure === undefined);
      if (found !== undefined) return found;
      if (last === undefined) continue;
      throw last.failure ?? new Error(`${workflowId} has ended, and the inventory does not show what it did`);
    }
  } finally {
    seen.abort();
  }
}
