import { z } from 'zod';
import { recordImageEvents } from '../../db/events';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { boundedText, callerSchema, parseRequest, uuid, chooseBackend } from '../kit/request';
import { workflowExecution } from '../kit/runs';
import { pinEntries } from '../../db/evictions/evictor';

/** Images times backends of one run: its history and its result stay well below what a server takes. */
const MAX_PAIRS = 1000;

const warmSchema = z.strictObject({
  imageIds: z
    .array(uuid, 'a list of image ids')
    .min(1, 'at least one image id')
    .max(MAX_PAIRS, `at most ${MAX_PAIRS} image ids`),
  backends: z.array(boundedText(40), 'a list of names').min(1, 'at least one name').max(MAX_PAIRS).optional(),
  allBackends: z.boolean().optional(),
  pin: z.boolean().optional(),
  ...callerSchema,
});

export interface WarmOrder {
  /** Each image on each backend, once. */
  pairs: { imageId: ImageId; backend: BackendName }[];
  pin: boolean;
  by: string;
}

/** Checks what is to be warmed, and records who has asked for it. Idempotent. @throws InvalidRequest naming the first field that is wrong (final). */
export function createPlanWarming(deps: ControlDependencies) {
  return async function planWarming(input: unknown): Promise<WarmOrder> {
    const request = parseRequest(warmSchema, input);
    const { backends, allBackends = false, pin = false, by = workflowExecution().workflowId } = request;
    if (allBackends && backends)
      throw new Failure('InvalidRequest', { field: 'allBackends', value: 'true', allowed: 'either it or backends' });
    const named = allBackends ? Object.keys(deps.config.backends) : (backends ?? [undefined]);
    const chosen = new Set(named.map((name) => chooseBackend(deps, name)));
    const images = new Set(request.imageIds as ImageId[]);
    const pairs = [...images].flatMap((imageId) => [...chosen].map((backend) => ({ imageId, backend })));
    const source = { by: request.by, requestId: request.requestId, ...workflowExecution() };
    if (pairs.length <= MAX_PAIRS) {
      await recordImageEvents(deps.database, { kind: 'warm.requested', images: pairs, detail: { pin }, ...source });
      return { pairs, pin, by };
    }
    const value = `${images.size} images on ${chosen.size} backends`;
    throw new Failure('InvalidRequest', { field: 'imageIds', value, allowed: `at most ${MAX_PAIRS} pairs` });
  };
}

/** Keeps what was warmed from being evicted. Idempotent. @returns false when it is no longer ready. Undo: unpin. */
export function createPinWarmed(deps: ControlDependencies) {
  return async function pinWarmed({ entryId, by }: { entryId: EntryId; by: string }): Promise<{ pinned: boolean }> {
    const { workflowId } = workflowExecution();
    const { matched } = await pinEntries(deps.database, { target: { entryId }, pinned: true, by, workflowId });
    return { pinned: matched > 0 };
  };
}
