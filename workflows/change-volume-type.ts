/** `ChangeVolumeType`: a volume type is made, changed or removed, in the inventory alone. */
import { setCurrentDetails } from '@temporalio/workflow';
import { code, text } from './contract/markdown';
import type { ChangeVolumeTypeInput, ChangeVolumeTypeResult } from './contract/volume-type';
import { inTask } from './lib/activity-profiles';
import { typed } from './lib/fail';

export async function ChangeVolumeType(input: ChangeVolumeTypeInput): Promise<ChangeVolumeTypeResult> {
  const step = { summary: `${input.verb ?? 'change'} the volume type` };
  const result = await typed(() => inTask(step, (a) => a.changeVolumeType(input)));
  setCurrentDetails(`**${result.outcome}**: volume type ${text(result.name)} (${code(result.volumeTypeId)})`);
  return result;
}
