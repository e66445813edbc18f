/** `ChangeSnapshot`: name, description and metadata of a snapshot, in the inventory alone. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { ChangeSnapshotInput, ChangeSnapshotResult } from './contract/snapshot';
import { inTask } from './lib/activity-profiles';
import { describeChangedSnapshot } from './lib/change-details';
import { typed } from './lib/fail';

export async function ChangeSnapshot(input: ChangeSnapshotInput): Promise<ChangeSnapshotResult> {
  const step = { summary: 'change name, description or metadata' };
  const changed = await typed(() => inTask(step, (a) => a.changeSnapshot(input)));
  setCurrentDetails(describeChangedSnapshot(changed));
  return changed;
}
