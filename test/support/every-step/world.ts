import { randomUUID } from 'node:crypto';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { WorkflowNotFoundError, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { cacheKeyOf, contentHashOf } from '../../../activities/kit/cache-key';
import { compareImages } from '../images/qemu';
import { MiB } from '../../../workflows/contract/bytes';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { CacheKey, Image } from '../../../workflows/contract/image';
import { workflowTypes } from '../../../workflows/contract/names';
import type { CreateVolumeInput, CreateVolumeResult, DeleteVolumeResult } from '../../../workflows/contract/volume';
import { until } from '../stack/flows';
import { makeSampleImage, uploadSample, type SampleImage } from '../images/sample-image';
import type { EveryStepStack } from './step-stack';
import { type VolumeRow } from '../../../db/schema';

const IMAGE_BYTES = 2 * MiB;

/** How a run ended: its result, or the type and message of its failure. */
export type Ending<Result> =
  { kind: 'done'; result: Result } | { kind: 'failed'; type: string; message: string } | { kind: 'cancelled' };

/** One image of its own and the runs that concern it: cases in different worlds do not disturb each other. */
export interface World {
  stack: EveryStepStack;
  sample: SampleImage;
  image: Image;
  cacheKey: CacheKey;
  contentHash: string;
  /** The workflow of this key's flights. */
  flightId: string;
  /** Runs of `CreateVolumeFromImage`. */
  creates: { workflowId: string; runId: string; volumeId: VolumeId }[];
  /** Every workflow id that may run. */
  workflowIds: Set<string>;
  /** @param workflowId default: the one that names the volume. */
  create(
    volumeId?: VolumeId,
    input?: Partial<CreateVolumeInput>,
    workflowId?: string,
  ): Promise<Ending<CreateVolumeResult>>;
  /** Runs any other workflow to its end. */
  run<Result>(workflowType: string, workflowId: string, input: object): Promise<Ending<Result>>;
  remove(volumeId: VolumeId): Promise<Ending<DeleteVolumeResult>>;
  volume(volumeId: VolumeId): Promise<VolumeRow | undefined>;
  /** Waits until the volume waits for a flight, or its create has closed. */
  untilWaiting(volumeId: VolumeId): Promise<void>;
  /** Waits until no run of this world is open. */
  untilClosed(): Promise<void>;
  hasGuestBytes(volume: Pick<CreateVolumeResult, 'connection'>): Promise<boolean>;
}

/** How an image gets into its image-volume: straight (`raw`), unpacked while it comes to the scratch (`qcow2`), or converted from there. */
export type ImageKind = 'raw' | 'qcow2' | 'qcow2 with subclusters';

export async function createWorld(stack: EveryStepStack, kind: ImageKind = 'raw'): Promise<World> {
  const { client, backend, taskQueue } = stack;
  const sample = await makeSampleImage({
    directory: stack.samplesDirectory,
    name: randomUUID(),
    diskFormat: kind === 'raw' ? 'raw' : 'qcow2',
    virtualBytes: IMAGE_BYTES,
    ...(kind === 'qcow2 with subclusters' ? { subclusters: true } : {}),
  });
  const image = await uploadSample(stack.images, sample);
  const cacheKey = cacheKeyOf(image);
  const flightId = stack.ids.populate(backend, cacheKey.short);
  const creates: World['creates'] = [];
  const ids = new Set([flightId]);
  const start = async (workflowType: string, workflowId: string, input: object) => {
    ids.add(workflowId);
    return await client.workflow.start(workflowType, {
      workflowId,
      taskQueue,
      args: [input],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
  };
  const volume = (volumeId: VolumeId) => stack.inventory.volume(volumeId);

  return {
    stack,
    sample,
    image,
    cacheKey,
    contentHash: contentHashOf(cacheKey),
    flightId,
    creates,
    workflowIds: ids,
    create: heard(async (volumeId = newVolumeId(), input = {}, workflowId = stack.ids.createVolume(volumeId)) => {
      const named = workflowId === stack.ids.createVolume(volumeId) ? {} : { volumeId };
      const request: CreateVolumeInput = { imageId: image.id, backend, ...named, ...input };
      const handle = await start(workflowTypes.createVolumeFromImage, workflowId, request);
      creates.push({ workflowId, runId: handle.firstExecutionRunId, volumeId });
      return await endingOf<CreateVolumeResult>(handle);
    }),
    run: async <Result>(workflowType: string, workflowId: string, input: object) =>
      await endingOf<Result>(await start(workflowType, workflowId, input)),
    remove: async (volumeId) => {
      const handle = await start(workflowTypes.deleteVolume, stack.ids.deleteVolume(volumeId), { volumeId });
      return await endingOf<DeleteVolumeResult>(handle);
    },
    volume,
    untilWaiting: async (volumeId) => {
      await until(`volume ${volumeId} to wait`, async () => {
        const row = await volume(volumeId);
        if (row?.activityId) return true;
        const started = creates.find((create) => create.volumeId === volumeId);
        return started !== undefined && (await isClosed(stack, started.workflowId));
      });
    },
    untilClosed: async () => {
      for (const workflowId of ids)
        await until(`${workflowId} to close`, async () => await isClosed(stack, workflowId));
    },
    hasGuestBytes: async ({ connection }) => {
      if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
      return await compareImages({ path: sample.rawPath, format: 'raw' }, connection);
    },
  };
}

/** @returns the result of a run that is done. @throws Error that says how it ended. */
export function resultOf<Result>(ending: Ending<Result>): Result {
  if (ending.kind === 'done') return ending.result;
  throw new Error(`a run that was to be done is ${JSON.stringify(ending)}`);
}

export function newVolumeId(): VolumeId {
  return randomUUID() as VolumeId;
}

async function isClosed({ client }: EveryStepStack, workflowId: string): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name !== 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return true;
    throw error;
  }
}

/** A test that has ended before a run does not await its end: an error of that run is then nobody's failure. */
function heard<Args extends unknown[], Result>(start: (...args: Args) => Promise<Result>) {
  return (...args: Args): Promise<Result> => {
    const result = start(...args);
    result.catch(() => undefined);
    return result;
  };
}

async function endingOf<Result>(handle: WorkflowHandleWithFirstExecutionRunId): Promise<Ending<Result>> {
  try {
    return { kind: 'done', result: (await handle.result()) as Result };
  } catch (error) {
    const failure = innermostFailure(error);
    if (failure instanceof ApplicationFailure)
      return { kind: 'failed', type: failure.type ?? '', message: failure.message };
    if (failure instanceof CancelledFailure) return { kind: 'cancelled' };
    throw error;
  }
}

/** @returns the failure that all the others tell of. */
function innermostFailure(error: unknown): unknown {
  let failure = error;
  while (failure instanceof Error && failure.cause instanceof Error) failure = failure.cause;
  return failure;
}
