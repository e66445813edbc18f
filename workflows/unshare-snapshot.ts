/**
 * `UnshareSnapshot`: no project, or some projects no more, create volumes from a shared snapshot; volumes that they have made stay.
 *
 *   check -> take the image from them [-> give what is a clone of it bytes of its own -> delete the image]
 *
 * Their access ends with the second step, even where the later ones fail.
 */
import { log, setCurrentDetails } from '@temporalio/workflow';
import type { BackendName } from './contract/ids';
import type { UnsharePlan, UnshareSnapshotInput, UnshareSnapshotResult } from './contract/share';
import { control, inTask, onBackend } from './lib/activity-profiles';
import { expectFailure, typed } from './lib/fail';
import { describeUnshared } from './lib/upload-details';

/** Tries at what the image service or a backend may not be able to do at all. */
const TRIES = 5;
const HOUR_MS = 3_600_000;
const HEARTBEAT_TIMEOUT_MS = 15_000;

export async function UnshareSnapshot(input: UnshareSnapshotInput): Promise<UnshareSnapshotResult> {
  const plan = await typed(() => inTask({ summary: 'check the request' }, (a) => a.planUnshare(input)));
  const outcome = await unshare(plan);
  const result = resultOf(plan, outcome);
  setCurrentDetails(describeUnshared(result));
  return result;
}

async function unshare(plan: UnsharePlan): Promise<UnshareSnapshotResult['outcome']> {
  if (plan.imageId === null) return 'absent';
  const revoked = await typed(() => control({ summary: `take image ${plan.imageId} from them` }).revokeShare(plan));
  if (revoked === 'absent') return 'absent';
  if (plan.members !== undefined) return 'members-removed';
  try {
    await freeParents(plan);
    const summary = `delete image ${plan.imageId}`;
    const deleted = await control({ summary }, { retry: { maximumAttempts: TRIES } }).deleteSharedImage(plan);
    return deleted === 'deleted' ? 'deleted' : 'revoked';
  } catch (error) {
    const failure = expectFailure(error);
    log.warn('the image of a snapshot that is shared no more is not deleted', { failureType: failure.type });
    return 'revoked';
  }
}

async function freeParents({ parents }: UnsharePlan): Promise<void> {
  for (const backend of new Set(parents.map(({ backend: of }) => of))) await freeParentsOn(backend, parents);
}

async function freeParentsOn(backend: BackendName, parents: UnsharePlan['parents']): Promise<void> {
  const imageVolumes = parents.filter((parent) => parent.backend === backend).map(({ imageVolume }) => imageVolume);
  const summary = 'give image-volumes that are clones of it bytes of their own';
  const limits = { startToCloseTimeout: HOUR_MS, heartbeatTimeout: HEARTBEAT_TIMEOUT_MS };
  await onBackend(backend, { summary }, { ...limits, retry: { maximumAttempts: TRIES } }).freeParents({ imageVolumes });
}

function resultOf(
  { snapshotId, imageId, members = [] }: UnsharePlan,
  outcome: UnshareSnapshotResult['outcome'],
): UnshareSnapshotResult {
  const sentences = {
    absent: `snapshot ${snapshotId} is not shared`,
    deleted: `snapshot ${snapshotId} is shared no more: image ${imageId} is deleted`,
    revoked: `snapshot ${snapshotId} is shared no more: image ${imageId} is private, and clones elsewhere need it still`,
    'members-removed': `${members.length} projects may not use image ${imageId} of snapshot ${snapshotId} any more`,
  };
  return { snapshotId, imageId, outcome, summary: sentences[outcome] };
}
