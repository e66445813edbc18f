import { retireEntry } from '../../db/entries/retirement';
import { listOfOtherPolicy, renewPolicyVersion } from '../../db/entries/entries';
import type { EntryRow } from '../../db/schema';
import type { EntryId } from '../../workflows/contract/ids';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { ControlDependencies } from '../dependencies';
import { createFindings, type ReconcileRequest, type Repaired } from './reconcile-run';

/** Entries that one run checks again. */
const ENTRIES_A_RUN = 10_000;

/**
 * Checks ready entries that were accepted under another image policy by what their rows tell: format, container,
 * virtual size, and by whom they are signed. Rules about an image's own structure were applied to bytes that are no longer there; content that they
 * let into the cache is plain guest bytes. Idempotent.
 */
export function createRecheckPolicy(deps: ControlDependencies) {
  return async function recheckPolicy({ backend, dryRun }: ReconcileRequest): Promise<ReconcileStep> {
    const findings = await createFindings(deps, { backend, dryRun });
    const { policyVersion } = deps;
    const { containers } = deps.config.policy;
    const listed = { backend, policyVersion, containers, limit: ENTRIES_A_RUN };
    const entries = await listOfOtherPolicy(deps.database, listed);
    for (const entry of entries) {
      findings.compared();
      findings.at(`checking entry ${entry.id} under image policy ${policyVersion}`);
      const found = findBreach(deps, entry);
      if (found !== undefined)
        await findings.repair({
          finding: { kind: 'entry-against-policy', object: entry.id, found, bytes: entry.realBytes },
          repair: async () => await retire(deps, entry.id, found),
        });
      else if (!dryRun) await renewPolicyVersion(deps.database, { entryId: entry.id, policyVersion });
    }
    return findings.step();
  };
}

/** @returns what the policy in force does not allow of this entry. */
function findBreach({ config, signatures }: ControlDependencies, entry: EntryRow): string | undefined {
  const { formats, containers, maxVirtualSize } = config.policy;
  const { diskFormat, containerFormat, virtualBytes } = entry;
  if (!formats.some((allowed) => allowed === diskFormat)) return `disk format ${diskFormat} is switched off`;
  if (!containers.some((allowed) => allowed === containerFormat))
    return `container format ${containerFormat} is switched off`;
  if (virtualBytes !== null && virtualBytes > maxVirtualSize)
    return `its ${virtualBytes} guest-visible bytes are more than the ${maxVirtualSize} that are allowed`;
  return signatures.findBreach({ isSigned: entry.keySignature !== null, verdict: entry.verdict });
}

async function retire({ database }: ControlDependencies, entryId: EntryId, detail: string): Promise<Repaired> {
  const retired = await retireEntry(database, { entryId, reason: 'policy-changed', detail });
  // One that is leased is for the next run.
  return retired.kind === 'leased' ? 'young' : 'repaired';
}
