/** `ChangeVolume`: changes properties of a volume that only the inventory has, such as its name. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { ChangeVolumeInput, ChangeVolumeResult } from './contract/volume-changes';
import { inTask } from './lib/activity-profiles';
import { describeChanged } from './lib/change-details';
import { typed } from './lib/fail';

export async function ChangeVolume(input: ChangeVolumeInput): Promise<ChangeVolumeResult> {
  const step = { summary: 'change name, metadata or bootable' };
  const changed = await typed(() => inTask(step, (a) => a.changeVolume(input)));
  setCurrentDetails(describeChanged(changed));
  return changed;
}
