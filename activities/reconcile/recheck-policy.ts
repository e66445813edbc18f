import { retireEntry } from '../../db/entries/entries';
import { listOfOtherPolicy, renewPolicyVersion } from '../../db/entries/policy-versions';
import type { EntryRow } from '../../db/types';
import type { BackendName } from '../../workflows/contract/ids';
import type { Finding, ReconcileStep } from '../../workflows/contract/reconcile';
import type { ControlDependencies } from '../dependencies';
import { createCollector } from './collector';

/** Entries that one run judges again. */
const ENTRIES_A_RUN = 10_000;

/**
 * Judges ready entries that were accepted under another image policy by what their rows tell: format, container and virtual size. Rules about an image's
 * own structure were applied to bytes that are no longer there; what they let into the cache is plain guest bytes. Idempotent.
 */
export function createRecheckPolicy(deps: ControlDependencies) {
  return async function recheckPolicy({
    backend,
    dryRun,
  }: {
    backend: BackendName;
    dryRun: boolean;
  }): Promise<ReconcileStep> {
    const collector = createCollector(deps, backend);
    const { policyVersion } = deps;
    const { containers } = deps.config.policy;
    const listed = { backend, policyVersion, containers, limit: ENTRIES_A_RUN };
    const entries = await listOfOtherPolicy(deps.database, listed);
    for (const entry of entries) {
      collector.looked();
      collector.at(`judging entry ${entry.id} under image policy ${policyVersion}`);
      const found = findBreach(deps, entry);
      if (found !== undefined) collector.add(await retire(deps, { entry, found, dryRun }));
      else if (!dryRun) await renewPolicyVersion(deps.database, { entryId: entry.id, policyVersion });
    }
    return collector.step();
  };
}

/** @returns what the policy in force does not allow of this entry. */
function findBreach({ config }: ControlDependencies, entry: EntryRow): string | undefined {
  const { formats, containers, maxVirtualSize } = config.policy;
  const { diskFormat, containerFormat, virtualBytes } = entry;
  if (!formats.some((allowed) => allowed === diskFormat)) return `disk format ${diskFormat} is switched off`;
  if (!containers.some((allowed) => allowed === containerFormat))
    return `container format ${containerFormat} is switched off`;
  if (virtualBytes !== null && virtualBytes > maxVirtualSize)
    return `its ${virtualBytes} guest-visible bytes are more than the ${maxVirtualSize} that are allowed`;
  return undefined;
}

async function retire(
  { database }: ControlDependencies,
  { entry, found, dryRun }: { entry: EntryRow; found: string; dryRun: boolean },
): Promise<Finding> {
  const finding = { kind: 'entry-against-policy', object: entry.id, found, bytes: entry.realBytes } as const;
  if (dryRun) return { ...finding, action: 'would-repair' };
  const retired = await retireEntry(database, { entryId: entry.id, reason: 'policy-changed', detail: found });
  // One that is leased is for the next run.
  return { ...finding, action: retired.kind === 'leased' ? 'young' : 'repaired' };
}
