import { hostname } from 'node:os';
import { ActivityNotFoundError } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { listRunningFlights } from '../../db/flights';
import { listScratch } from '../../db/scratch-files';
import { Failure } from '../../workflows/contract/failures';
import type { HostId } from '../../workflows/contract/ids';
import type { HostDependencies } from '../dependencies';
import { toApplicationFailure } from '../application-failure';
import { findRun } from '../kit/runs';

const DEADLINE_MS = 10_000;
const WORKFLOWS_AT_ONCE = 16;
/** One whose cancel was requested is left to its timeout: a failure would be another end. */
const { PENDING_ACTIVITY_STATE_STARTED: STARTED } = temporal.api.enums.v1.PendingActivityState;

/** A host's worker in the server's eyes: the process, as the SDK names it, and its host. */
export function hostIdentity(hostId: HostId): string {
  return `${process.pid}@${hostname()}${ofHost(hostId)}`;
}

function ofHost(hostId: HostId): string {
  return ` on host ${hostId}`;
}

/**
 * Ends the attempts that a dead worker of this host has left, so that they begin again at once and not when their
 * heartbeats time out: a kill costs a restart. Only for a worker that holds the host's scratch and has no work yet: the
 * worker that ran them held it before, and is gone. Idempotent.
 * @returns the workflows whose attempts were ended.
 */
export async function endLostAttempts(deps: HostDependencies): Promise<string[]> {
  const ended: string[] = [];
  await deps.temporal.withDeadline(Date.now() + DEADLINE_MS, async () => {
    const workflows = await listWorkflows(deps);
    for (let first = 0; first < workflows.length; first += WORKFLOWS_AT_ONCE) {
      const some = workflows.slice(first, first + WORKFLOWS_AT_ONCE);
      const found = await Promise.all(some.map((workflowId) => endAttemptsOf(deps, workflowId)));
      ended.push(...found.flat());
    }
  });
  return ended;
}

/** Workflows that may have something running on this host: flights, and the users of its scratch. */
async function listWorkflows({ database, backends, hostId, queues }: HostDependencies): Promise<string[]> {
  const flights = await listRunningFlights(database, { backends: [...backends.keys()] });
  const files = await listScratch(database, { hostId });
  return [
    ...new Set([
      ...flights.map(({ backend, shortKey }) => queues.ids.populate(backend, shortKey)),
      ...files.flatMap(({ users }) => users),
    ]),
  ];
}

async function endAttemptsOf(deps: HostDependencies, workflowId: string): Promise<string[]> {
  const { temporal: client, hostId } = deps;
  const run = await findRun(deps, { workflowId });
  if (run === undefined) return [];
  const { runId, raw } = run;
  const lost = toApplicationFailure(new Failure('HostLost', { host: hostId }));
  try {
    const attempts = (raw.pendingActivities ?? []).filter(
      ({ state, lastWorkerIdentity }) => state === STARTED && lastWorkerIdentity?.endsWith(ofHost(hostId)),
    );
    for (const { activityId } of attempts)
      await client.activity.fail({ workflowId, runId, activityId: activityId ?? '' }, lost);
    return attempts.map(() => workflowId);
  } catch (error) {
    // It has ended meanwhile, one way or another.
    if (error instanceof ActivityNotFoundError) return [];
    throw error;
  }
}
