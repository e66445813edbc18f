import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { encodeWorkflowIdConflictPolicy, encodeWorkflowIdReusePolicy, type Payload } from '@temporalio/common';
import { traced } from '../lib/traced';
import type { Caller } from '../workflows/contract/event-kinds';
import type { VolumeId } from '../workflows/contract/ids';
import { text } from '../workflows/contract/markdown';
import { workflowTypes } from '../workflows/contract/names';
import { shorten } from '../workflows/contract/words';
import type {
  CreatePlainVolumeInput,
  CreateVolumeInput,
  CreateVolumeResult,
  CreateVolumesInput,
  CreateVolumesResult,
  DeleteVolumeInput,
  DeleteVolumeResult,
} from '../workflows/contract/volume';
import type {
  ChangeVolumeResult,
  ExtendVolumeResult,
  ReimageVolumeInput,
  ReimageVolumeResult,
  VolumeChange,
} from '../workflows/contract/volume-changes';
import type { ImageVolumeCache } from './connection';
import { findTracing } from './tracing';
import { failureError } from './errors';
import type { OfProject } from './inventory';
import { checkUuid } from './object-ids';
import { checkProjectId } from './project-id';
import { watchCreate, type CreateReport } from './progress';
import {
  interruptible,
  refuseForeignRun,
  reportingErrors,
  runWorkflow,
  type Waited,
  type RunOptions,
  type StartedRun,
  type Ran,
} from './run-workflow';

/** A server that lives starts a workflow in this time; the shared connection of an eager start has no deadline of its own. */
const START_TIMEOUT_MS = 30_000;

/** A create that runs, whether or not anybody waits for it. */
export interface StartedVolume extends StartedRun {
  volumeId: VolumeId;
  /** Whether a create of this volume was running already, which this call joined. */
  reused: boolean;
}
export type CreatedVolume = CreateVolumeResult & StartedVolume;

export interface WaitOptions extends RunOptions {
  /** Called a few times a second at most, from a quarter of a second on. */
  onProgress?: (report: CreateReport) => void;
}

/**
 * Makes a volume with an image's bytes, or with those of a snapshot or of another volume, or an empty one, and waits until it is available. The same request with the same `volumeId` is
 * one volume, however often it is sent.
 * @throws ImageVolumeCacheError; `WaitInterrupted` when `signal` is aborted: the create goes on. Undo: `deleteVolume`.
 */
export async function createVolume<Options extends WaitOptions = { wait?: true }>(
  cache: ImageVolumeCache,
  input: CreateVolumeInput | CreatePlainVolumeInput,
  options?: Options,
): Promise<Waited<StartedVolume, CreatedVolume, Options>> {
  const volumeId = checkUuid('volumeId', input.volumeId ?? randomUUID()) as VolumeId;
  const workflowId = cache.queues.ids.createVolume(volumeId);
  const taskQueue = cache.queues.control;
  const created = await reportingErrors(cache, workflowId, async (client): Promise<StartedVolume | CreatedVolume> => {
    const { eager } = cache;
    const run = await startCreate(
      eager ?? client,
      { workflowId, taskQueue, eager: eager !== undefined },
      { ...input, volumeId },
    );
    if (run.reused) await refuseForeignRun(client, cache, workflowId);
    const started: StartedVolume = { volumeId, workflowId, ...run };
    if (options?.wait === false) return started;
    const waiting = { ...options, taskQueue, projectId: input.projectId };
    const made = await waitForCreate(client, started, waiting);
    // A run that was joined may be another project's, whose volume is not told.
    if (input.projectId !== undefined && made.projectId !== input.projectId)
      throw failureError('Conflict', { volumeId, found: 'a request of another project' });
    return { ...made, ...started };
  });
  return created as Waited<StartedVolume, CreatedVolume, Options>;
}

/** As the workflow takes it, and the id of the request: sent again with the same one it is the same volumes. */
export type CreateVolumesRequest = CreateVolumesInput & { requestId?: string };

/**
 * Makes many volumes with an image's bytes in one run and waits until they are available. Volumes that could not be made
 * are in the result's `failed`; where none could be it fails as `createVolume` does.
 * @throws ImageVolumeCacheError; `WaitInterrupted` when `signal` is aborted: the work goes on. Undo: `deleteVolume` of
 * each.
 */
export async function createVolumes<Options extends WaitOptions>(
  cache: ImageVolumeCache,
  { requestId = randomUUID(), ...input }: CreateVolumesRequest,
  options: Options,
): Promise<Ran<CreateVolumesResult, Options>> {
  checkUuid('requestId', requestId);
  const request = {
    type: workflowTypes.createVolumesFromImage,
    workflowId: cache.queues.ids.createVolumes(requestId),
    conflict: 'USE_EXISTING',
    input,
    summary: `${input.count ?? input.volumeIds?.length} volumes from image ${input.imageId} on ${input.backend ?? 'the default backend'}`,
  } as const;
  const { onProgress } = options;
  const taskQueue = cache.queues.control;
  const watch =
    onProgress && (async (run: StartedRun) => watchCreate(await cache.temporal(), { ...run, taskQueue, onProgress }));
  return await runWorkflow<CreateVolumesResult, Options>(cache, request, { options, watch });
}

/**
 * Deletes a volume; a create that still runs is cancelled first, the deleted is done.
 * @throws ImageVolumeCacheError `VolumeInUse`; `VolumeHasSnapshots`, unless `cascade` deletes them first; `VolumeNotFound` when the project that is named has never had it: without one the absent is done.
 */
export async function deleteVolume(
  cache: ImageVolumeCache,
  volumeId: string,
  { signal, ...input }: Pick<WaitOptions, 'signal'> & VolumeDeletion = {},
): Promise<DeleteVolumeResult> {
  const request = deletionOf(cache, volumeId, input);
  const { result } = await runWorkflow<DeleteVolumeResult, { signal?: AbortSignal }>(cache, request, {
    options: { signal },
  });
  return result;
}

export type VolumeDeletion = OfProject & Caller & Pick<DeleteVolumeInput, 'force' | 'cascade'>;

/** @returns the run that deletes a volume. @throws ImageVolumeCacheError `InvalidRequest` */
export function deletionOf(
  cache: ImageVolumeCache,
  volumeId: string,
  { projectId, by, requestId, force, cascade }: VolumeDeletion,
) {
  const id = checkUuid('volumeId', volumeId) as VolumeId;
  if (projectId !== undefined) checkProjectId(projectId);
  return {
    type: workflowTypes.deleteVolume,
    workflowId: cache.queues.ids.deleteVolume(id, projectId),
    // By force one that does not get on is replaced.
    conflict: force ? 'TERMINATE_EXISTING' : 'USE_EXISTING',
    input: { volumeId: id, projectId, force, cascade, by, requestId },
    summary: `delete volume ${id}`,
  } as const;
}

/**
 * Changes what of a volume needs no backend: name, description, metadata, bootable and the like.
 * @throws ImageVolumeCacheError `VolumeNotFound`, `VolumeNotReady`, `InvalidRequest`
 */
export async function changeVolume(
  cache: ImageVolumeCache,
  volumeId: string,
  { signal, ...input }: VolumeChange & Pick<WaitOptions, 'signal'> & OfProject & Caller,
): Promise<ChangeVolumeResult> {
  const id = checkUuid('volumeId', volumeId) as VolumeId;
  const options = { signal };
  const request = {
    type: workflowTypes.changeVolume,
    workflowId: cache.queues.ids.changeVolume(id, randomUUID()),
    conflict: 'FAIL',
    input: { ...input, volumeId: id },
    summary: `change volume ${id}`,
  } as const;
  const { result } = await runWorkflow<ChangeVolumeResult, typeof options>(cache, request, { options });
  return result;
}

/**
 * Makes a volume larger. The same request again is done. The result says who has it open: that guest has to look for the new size.
 * @throws ImageVolumeCacheError `VolumeNotFound`, `VolumeNotReady`, `VolumeInUse`, `NoSpace`, `InvalidRequest` for a size below what it has
 */
export async function extendVolume(
  cache: ImageVolumeCache,
  volumeId: string,
  { signal, ...input }: { sizeBytes: number } & Pick<WaitOptions, 'signal'> & OfProject & Caller,
): Promise<ExtendVolumeResult> {
  const id = checkUuid('volumeId', volumeId) as VolumeId;
  const { sizeBytes, projectId } = input;
  if (projectId !== undefined) checkProjectId(projectId);
  const options = { signal };
  const request = {
    type: workflowTypes.extendVolume,
    workflowId: cache.queues.ids.extendVolume(id, sizeBytes, projectId),
    conflict: 'USE_EXISTING',
    input: { ...input, volumeId: id },
    summary: `extend volume ${id} to ${sizeBytes} bytes`,
  } as const;
  const { result } = await runWorkflow<ExtendVolumeResult, typeof options>(cache, request, { options });
  return result;
}

/**
 * Gives a volume that is available, or in error, the bytes of an image in place of its own, through the cache, zeros behind them. It keeps id, name and metadata; its image
 * metadata are the new image's.
 * @throws ImageVolumeCacheError `VolumeNotFound`, `VolumeNotReady`, `VolumeInUse`, `QuotaExceeded` for one in error, `InvalidRequest` for
 *   one that is too small; as a create for the image. `WaitInterrupted` when `signal` is aborted: the work goes on.
 */
export async function reimageVolume(
  cache: ImageVolumeCache,
  volumeId: string,
  { signal, ...input }: Omit<ReimageVolumeInput, 'volumeId'> & Pick<WaitOptions, 'signal'>,
): Promise<ReimageVolumeResult> {
  const id = checkUuid('volumeId', volumeId) as VolumeId;
  const { imageId, projectId } = input;
  checkUuid('imageId', imageId);
  if (projectId !== undefined) checkProjectId(projectId);
  const options = { signal };
  const request = {
    type: workflowTypes.reimageVolume,
    workflowId: cache.queues.ids.reimageVolume(id, imageId, projectId),
    conflict: 'USE_EXISTING',
    input: { ...input, volumeId: id },
    summary: `reimage volume ${id} with image ${imageId}`,
  } as const;
  const { result } = await runWorkflow<ReimageVolumeResult, typeof options>(cache, request, { options });
  return result;
}

/**
 * Starts the create, or finds the one that is running: `reused`. The server's answer says which of the two; the SDK's
 * `start` keeps that to itself, hence the call of the service. Idempotent for one `workflowId` while its run is open.
 */
async function startCreate(
  client: Client,
  { workflowId, taskQueue, eager }: { workflowId: string; taskQueue: string; eager: boolean },
  input: CreateVolumeInput | CreatePlainVolumeInput,
): Promise<Pick<StartedVolume, 'runId' | 'reused'>> {
  const { type, summary } = describeCreate(input);
  const { workflowService, options } = client;
  const payloads = [await toPayload(client, input)];
  const userMetadata = { summary: await toPayload(client, text(summary)) };
  // As the SDK's interceptor calls it.
  const attributes = { temporalWorkflowId: workflowId };
  const span = () => ({ name: `StartWorkflow:${type}`, attributes, mayBegin: true });
  return await traced(span, async ({ say }) => {
    const tracing = findTracing();
    const request = {
      namespace: options.namespace,
      identity: options.identity,
      requestId: randomUUID(),
      workflowId,
      workflowType: { name: type },
      taskQueue: { name: taskQueue },
      workflowIdReusePolicy: encodeWorkflowIdReusePolicy('ALLOW_DUPLICATE'),
      workflowIdConflictPolicy: encodeWorkflowIdConflictPolicy('USE_EXISTING'),
      input: { payloads },
      userMetadata,
      header: tracing && { fields: tracing.headers() },
      requestEagerExecution: eager,
    };
    const { runId, started } = await client.withDeadline(Date.now() + START_TIMEOUT_MS, () =>
      workflowService.startWorkflowExecution(request),
    );
    say({ run_id: runId });
    return { runId, reused: !started };
  });
}

function describeCreate(input: CreateVolumeInput | CreatePlainVolumeInput): { type: string; summary: string } {
  if ('imageId' in input) {
    const volume = input.name === undefined ? 'volume' : `volume ${shorten(input.name, 60)}`;
    const summary = `${volume} from image ${input.imageId} on ${input.backend ?? 'the default backend'}`;
    return { type: workflowTypes.createVolumeFromImage, summary };
  }
  const { snapshotId, sourceVolumeId } = input;
  const source = snapshotId === undefined ? sourceVolumeId && `volume ${sourceVolumeId}` : `snapshot ${snapshotId}`;
  return { type: workflowTypes.createVolume, summary: source ? `volume of ${source}` : 'empty volume' };
}

/** As the client itself encodes what it sends. */
async function toPayload({ options: { loadedDataConverter } }: Client, value: unknown): Promise<Payload> {
  const { payloadConverter, payloadCodecs } = loadedDataConverter;
  let payloads = [payloadConverter.toPayload(value)];
  for (const codec of payloadCodecs) payloads = await codec.encode(payloads);
  const [payload] = payloads;
  if (payload === undefined) throw new Error('a payload codec has encoded nothing');
  return payload;
}

async function waitForCreate(
  client: Client,
  started: StartedVolume,
  { onProgress, signal, taskQueue, projectId }: WaitOptions & OfProject & { taskQueue: string },
): Promise<CreateVolumeResult> {
  const { workflowId, runId } = started;
  const watch = onProgress && watchCreate(client, { workflowId, runId, taskQueue, onProgress });
  try {
    return await interruptible(client, { workflowId, signal, projectId }, () =>
      client.workflow.result<() => Promise<CreateVolumeResult>>(workflowId, runId),
    );
  } finally {
    await watch?.stop();
  }
}
