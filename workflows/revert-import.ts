/** `RevertImport`: gives back objects taken over from Cinder that are as they were then: volumes with their snapshots, then types and quotas. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { RevertImportInput, RevertImportResult } from './contract/cinder-import';
import { control, inTask, onBackendInBulk } from './lib/activity-profiles';
import { typed } from './lib/fail';
import { describeImported } from './lib/import-details';

/** A cloud has thousands of projects. */
const SETTINGS_MS = 10 * 60_000;

export async function RevertImport(input: RevertImportInput): Promise<RevertImportResult> {
  const { backend, dryRun } = await typed(() => inTask({ summary: 'check the request' }, (a) => a.planRevert(input)));
  const giving = onBackendInBulk(backend, { summary: `give the volumes of ${backend} back` });
  const volumes = await typed(() => giving.giveBackVolumes(input));
  const settings = await typed(() =>
    control({ summary: 'give types and quotas back' }, { startToCloseTimeout: SETTINGS_MS }).giveBackSettings(input),
  );
  const findings = [...volumes, ...settings];
  setCurrentDetails(describeImported(findings));
  return { backend, dryRun, findings };
}
