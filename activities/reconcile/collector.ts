import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import type { BackendName } from '../../workflows/contract/ids';
import type { Finding, FindingKind, ReconcileStep } from '../../workflows/contract/reconcile';
import type { CacheMetrics } from '../metrics';

/** Findings that one step tells in full. */
const TOLD = 200;
/** Heartbeats carry what was repaired: not one for each object. */
const HEARTBEAT_INTERVAL_MS = 500;

/** What a step has found so far. What an earlier try of it has repaired is told too, as far as its heartbeats say. */
export interface Collector {
  looked(objects?: number): void;
  add(finding: Finding): void;
  /** Tells that the step is alive, and what it is at. @throws when it is cancelled: between two findings is where it may stop. */
  at(summary: string): void;
  step(): ReconcileStep;
}

export function createCollector(deps: { metrics: CacheMetrics }, backend: BackendName): Collector {
  const findings = findRepaired();
  const counts: Partial<Record<FindingKind, number>> = {};
  let looked = 0;
  let beatAtMs = -Infinity;
  for (const { kind } of findings) counts[kind] = (counts[kind] ?? 0) + 1;
  const isTold = ({ kind, object, action }: Finding): boolean =>
    findings.some((told) => told.kind === kind && told.object === object && told.action === action);
  return {
    looked: (objects = 1) => {
      looked += objects;
    },
    add: (finding) => {
      const { kind, action } = finding;
      if (isTold(finding)) return;
      counts[kind] = (counts[kind] ?? 0) + 1;
      deps.metrics.found({ backend, finding: kind, action });
      if (findings.length < TOLD) findings.push(finding);
    },
    at: (summary) => {
      cancellationSignal().throwIfAborted();
      if (performance.now() - beatAtMs < HEARTBEAT_INTERVAL_MS) return;
      beatAtMs = performance.now();
      const repaired = findings.filter(({ action }) => action === 'repaired' || action === 'adopted');
      heartbeat({ stage: 'waiting', summary, repaired });
    },
    step: () => ({ looked, findings, counts }),
  };
}

/** Only what is repaired would be missing from what a further try finds. */
function findRepaired(): Finding[] {
  const details = activityInfo().heartbeatDetails as { repaired?: Finding[] } | undefined;
  return details?.repaired ?? [];
}
