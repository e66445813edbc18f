import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { encodeWorkflowIdConflictPolicy, encodeWorkflowIdReusePolicy, type Payload } from '@temporalio/common';
import { uuidPattern, type VolumeId } from '../workflows/contract/ids';
import { text } from '../workflows/contract/markdown';
import { workflowTypes } from '../workflows/contract/names';
import type {
  CreateVolumeInput,
  CreateVolumeResult,
  CreateVolumesInput,
  CreateVolumesResult,
  DeleteVolumeResult,
} from '../workflows/contract/volume';
import type { ImageVolumeCache } from './connection';
import { failureError } from './errors';
import type { VolumeFilter } from './inventory';
import { watchCreate, type CreateReport } from './progress';
import type { Volume } from './records';
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
 * Makes a volume with an image's bytes and waits until it is available. The same request with the same `volumeId` is
 * one volume, however often it is sent.
 * @throws ImageVolumeCacheError; `WaitInterrupted` when `signal` is aborted: the create goes on. Undo: `deleteVolume`.
 */
export async function createVolume<Options extends WaitOptions = { wait?: true }>(
  cache: ImageVolumeCache,
  input: CreateVolumeInput,
  options?: Options,
): Promise<Waited<StartedVolume, CreatedVolume, Options>> {
  const volumeId = parseVolumeId(input.volumeId ?? randomUUID());
  const workflowId = cache.queues.ids.createVolume(volumeId);
  const taskQueue = cache.queues.control;
  const created = await reportingErrors(cache, workflowId, async (client): Promise<StartedVolume | CreatedVolume> => {
    const run = await startCreate(client, { workflowId, taskQueue }, { ...input, volumeId });
    if (run.reused) await refuseForeignRun(client, cache, workflowId);
    const started: StartedVolume = { volumeId, workflowId, ...run };
    if (options?.wait === false) return started;
    return { ...(await waitForCreate(client, started, { ...options, taskQueue })), ...started };
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
  const allowed = 'a UUID in lower case';
  if (!uuidPattern.test(requestId))
    throw failureError('InvalidRequest', { field: 'requestId', value: requestId, allowed });
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
 * Deletes a volume; a create that still runs is cancelled first, the absent is done.
 * @throws ImageVolumeCacheError `VolumeInUse`, `VolumeNotFound`
 */
export async function deleteVolume(
  cache: ImageVolumeCache,
  volumeId: string,
  options: Pick<WaitOptions, 'signal'> = {},
): Promise<DeleteVolumeResult> {
  const id = parseVolumeId(volumeId);
  const request = {
    type: workflowTypes.deleteVolume,
    workflowId: cache.queues.ids.deleteVolume(id),
    conflict: 'USE_EXISTING',
    input: { volumeId: id },
    summary: `delete volume ${id}`,
  } as const;
  const { result } = await runWorkflow<DeleteVolumeResult, typeof options>(cache, request, { options });
  return result;
}

/**
 * @returns a volume's record. @throws ImageVolumeCacheError `VolumeNotFound`, `DatabaseUnavailable`, `NotConfigured`
 */
export async function getVolume(cache: ImageVolumeCache, volumeId: string): Promise<Volume> {
  const id = parseVolumeId(volumeId);
  const volume = await (await cache.inventory()).findVolume(id);
  if (volume === undefined) throw failureError('VolumeNotFound', { volumeId: id });
  return volume;
}

/** @returns volumes, the newest first. @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured` */
export async function listVolumes(cache: ImageVolumeCache, filter: VolumeFilter = {}): Promise<Volume[]> {
  return await (await cache.inventory()).listVolumes(filter);
}

/**
 * Starts the create, or finds the one that is running: `reused`. The server's answer says which of the two; the SDK's
 * `start` keeps that to itself, hence the call of the service. Idempotent for one `workflowId` while its run is open.
 */
async function startCreate(
  client: Client,
  { workflowId, taskQueue }: { workflowId: string; taskQueue: string },
  input: CreateVolumeInput,
): Promise<Pick<StartedVolume, 'runId' | 'reused'>> {
  const summary = `volume from image ${input.imageId} on ${input.backend ?? 'the default backend'}`;
  const { workflowService, options } = client;
  const { runId, started } = await workflowService.startWorkflowExecution({
    namespace: options.namespace,
    identity: options.identity,
    requestId: randomUUID(),
    workflowId,
    workflowType: { name: workflowTypes.createVolumeFromImage },
    taskQueue: { name: taskQueue },
    workflowIdReusePolicy: encodeWorkflowIdReusePolicy('ALLOW_DUPLICATE'),
    workflowIdConflictPolicy: encodeWorkflowIdConflictPolicy('USE_EXISTING'),
    input: { payloads: [await toPayload(client, input)] },
    userMetadata: { summary: await toPayload(client, text(summary)) },
  });
  return { runId, reused: !started };
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
  { onProgress, signal, taskQueue }: WaitOptions & { taskQueue: string },
): Promise<CreateVolumeResult> {
  const { workflowId, runId } = started;
  const watch = onProgress && watchCreate(client, { workflowId, runId, taskQueue, onProgress });
  try {
    return await interruptible(client, { workflowId, signal }, () =>
      client.workflow.result<() => Promise<CreateVolumeResult>>(workflowId, runId),
    );
  } finally {
    await watch?.stop();
  }
}

function parseVolumeId(volumeId: string): VolumeId {
  if (uuidPattern.test(volumeId)) return volumeId as VolumeId;
  throw failureError('InvalidRequest', { field: 'volumeId', value: volumeId, allowed: 'a UUID in lower case' });
}
