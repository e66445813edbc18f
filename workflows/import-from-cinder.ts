/**
 * `ImportFromCinder`: a part of what Cinder has is taken over where it lies: types and quotas, then volumes with their snapshots and attachments. Its
 * caller has read Cinder's database, whose password is in no history. `RevertImport` is its undo.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { ImportFinding, ImportFromCinderInput, ImportFromCinderResult } from './contract/cinder-import';
import { inTask, onBackendInBulk } from './lib/activity-profiles';
import { typed } from './lib/fail';
import { describeImported } from './lib/import-details';

export async function ImportFromCinder(input: ImportFromCinderInput): Promise<ImportFromCinderResult> {
  const { backend, dryRun } = await typed(() => inTask({ summary: 'check the request' }, (a) => a.planImport(input)));
  const findings: ImportFinding[] = [];
  const { types = [], quotas = [], volumes = [] } = input;
  if (types.length + quotas.length > 0) {
    const step = { summary: `take ${types.length} types and ${quotas.length} quotas over` };
    findings.push(...(await typed(() => inTask(step, (a) => a.importSettings({ ...input, volumes: [] })))));
  }
  if (volumes.length > 0) {
    const step = { summary: `take ${volumes.length} volumes over on ${backend}` };
    const taking = onBackendInBulk(backend, step);
    findings.push(...(await typed(() => taking.importVolumes({ ...input, types: [], quotas: [] }))));
  }
  setCurrentDetails(describeImported(findings));
  return { backend, dryRun, findings };
}
