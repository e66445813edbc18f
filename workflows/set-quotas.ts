/** `SetQuotas`: sets quotas of a project or of a class, or takes back what was set. Volumes that exist stay, whatever they are. */
import { setCurrentDetails } from '@temporalio/workflow';
import { code, paragraphs, text } from './contract/markdown';
import type { SetQuotasInput, SetQuotasResult } from './contract/quotas';
import { inTask } from './lib/activity-profiles';
import { typed } from './lib/fail';

export async function SetQuotas(input: SetQuotasInput): Promise<SetQuotasResult> {
  const result = await typed(() => inTask({ summary: 'set the quotas of the project' }, (a) => a.applyQuotas(input)));
  setCurrentDetails(describeQuotas(result));
  return result;
}

function describeQuotas({ projectId, quotaClass, set }: SetQuotasResult): string {
  const whose = projectId === undefined ? `quota class ${code(quotaClass ?? '')}` : `project ${code(projectId)}`;
  const limits = Object.entries(set).map(([quota, limit]) => `${text(quota)} ${limit ?? 'unlimited'}`);
  const said = limits.length === 0 ? 'no quotas of its own' : limits.join(', ');
  return paragraphs(`**set**: ${whose} has ${said}`);
}
