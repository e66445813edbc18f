import { Failure } from '../../workflows/contract/failures';
import type { Finding } from '../../workflows/contract/reconcile';
import { findingRules } from './findings';
import type { ReconcileRun } from './run';

/** `unfounded`: it has changed since it was found. `kept`: it is told and left as it is. */
export type Repaired = 'repaired' | 'unfounded' | { kept: string };

export interface Repair {
  finding: Omit<Finding, 'action'>;
  /** Since when it is as it is, by the inventory; for the grace age. */
  since?: Date | null;
  /** When it was written, by the file system; for the grace age. */
  writtenAt?: Date;
  /** Idempotent; looks again before it changes anything. */
  repair: () => Promise<Repaired>;
}

/**
 * Deals with one finding as its rule and the run say. What a repair fails with for good is told, and the others go on.
 * @throws what a retry may mend.
 */
export async function settle(run: ReconcileRun, { finding, since, writtenAt, repair }: Repair): Promise<void> {
  const { collector, dryRun } = run;
  collector.at(`${finding.kind}: ${finding.object}`);
  if (findingRules[finding.kind].grace && run.isYoung({ since, writtenAt }))
    return collector.add({ ...finding, action: 'young' });
  if (dryRun) return collector.add({ ...finding, action: 'would-repair' });
  try {
    const repaired = await repair();
    if (repaired === 'unfounded') return;
    if (repaired === 'repaired') return collector.add({ ...finding, action: 'repaired' });
    collector.add({ ...finding, found: `${finding.found}; ${repaired.kept}`, action: 'reported' });
  } catch (error) {
    if (!(error instanceof Failure && error.isFinal)) throw error;
    collector.add({ ...finding, found: `${finding.found}; ${error.message}`, action: 'failed' });
  }
}

/** Tells of something that a person decides about. */
export function report({ collector }: ReconcileRun, finding: Omit<Finding, 'action'>): void {
  collector.add({ ...finding, action: 'reported' });
}
