import { findFlight } from '../../db/flights';
import { Failure } from '../../workflows/contract/failures';
import { called, link, paragraphs, workflowPath, workflowsPath } from '../../workflows/contract/markdown';
import { workflowTypes } from '../../workflows/contract/names';
import type { PopulateInput } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from './runs';

/**
 * Starts the flight, or finds it running. A run that has answered already is no use to those that joined after its
 * answer: it closes in a moment, and the caller tries again until a new run exists. Idempotent.
 * @throws FlightClosing (retried at once); ForeignRun (final).
 */
export async function ensureFlightRuns(
  deps: ControlDependencies,
  input: PopulateInput & { imageName?: string | null },
): Promise<void> {
  const { backend, cacheKey, imageId, imageName, projectId, seed } = input;
  const workflowId = flightIdOf(deps, input);
  const handle = await deps.temporal.workflow.start(workflowTypes.populateImageCache, {
    workflowId,
    taskQueue: deps.queues.control,
    args: [{ backend, cacheKey, imageId, projectId, ...(seed && { seed }) } satisfies PopulateInput],
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    workflowIdConflictPolicy: 'USE_EXISTING',
    // Beside the input, which workers of another version check.
    memo: imageName ? { imageName } : {},
    staticSummary: `populate the cache of ${backend} with image ${called(imageId, imageName)}`,
    staticDetails: describeWaiters(deps, input),
  });
  const { taskQueue } = await handle.describe();
  if (taskQueue !== deps.queues.control)
    throw new Failure('ForeignRun', { workflowId, found: taskQueue, allowed: deps.queues.control });
  const flight = await findFlightOf(deps, input);
  if (flight?.answeredRunId === handle.firstExecutionRunId) throw new Failure('FlightClosing', { flight: workflowId });
}

/** @returns the workflow of a key's flights. */
export function flightIdOf(
  { queues }: ControlDependencies,
  { backend, cacheKey }: Pick<PopulateInput, 'backend' | 'cacheKey'>,
): string {
  return queues.ids.populate(backend, cacheKey.short);
}

export function findFlightOf(
  { database }: ControlDependencies,
  { backend, cacheKey }: Pick<PopulateInput, 'backend' | 'cacheKey'>,
) {
  return findFlight(database, { backend, shortKey: cacheKey.short });
}

/** @returns Markdown for the UI: the create that began the flight, and the list of those that wait. */
function describeWaiters(
  { temporal, searchAttributes, queues }: ControlDependencies,
  { backend, cacheKey }: PopulateInput,
): string {
  const { namespace } = temporal.options;
  const { workflowId } = workflowExecution();
  const first = `Started for ${link(workflowId, workflowPath(namespace, workflowId))}.`;
  const waiting = `WorkflowType = "${workflowTypes.createVolumeFromImage}" AND Backend = "${backend}" AND CacheKey = "${cacheKey.short}" AND TaskQueue = "${queues.control}" AND ExecutionStatus = "Running"`;
  return searchAttributes
    ? paragraphs(first, link('The creates of this image that run now', workflowsPath(namespace, waiting)))
    : first;
}
