import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { openDatabaseClock } from '../../db/clock';
import { listEntries } from '../../db/entries/entries';
import { listVolumesById } from '../../db/reconcile/reconcile-volumes';
import type { EntryRow, VolumeRow } from '../../db/schema';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { Finding, FindingKind, ReconcileStep } from '../../workflows/contract/reconcile';
import type { VolumeState } from '../../workflows/contract/volume';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { lastHeartbeat } from '../kit/heartbeat-reporter';
import { workflowExecution } from '../kit/runs';
import { hasGrace } from './findings';

/** Findings that one step lists in full. */
const LISTED = 200;
/** Heartbeats carry what was repaired: not one for each object. */
const HEARTBEAT_INTERVAL_MS = 500;
const PAGE_ROWS = 200;

/** Request to every step of a reconciliation. */
export interface ReconcileRequest {
  backend: BackendName;
  dryRun: boolean;
}

/** A finding before anything is done about it. */
export type NewFinding = Omit<Finding, 'action'>;

/** Each time is compared with the clock that wrote it. */
interface Age {
  /** By the inventory. */
  since?: Date | null;
  /** By the file system. */
  writtenAt?: Date;
}

/**
 * `unfounded`: it has changed since it was found. `young`: it is for the next run. `kept`: it is reported and left as
 * it is.
 */
export type Repaired = 'repaired' | 'unfounded' | 'young' | { kept: string };

export interface Repair extends Age {
  finding: NewFinding;
  /** Idempotent; checks the finding again before it changes anything. */
  repair: () => Promise<Repaired>;
}

/** Findings of a step so far. Those that an earlier try has repaired are among them, as far as its heartbeats say. */
export interface Findings {
  dryRun: boolean;
  /** Counts objects or rows that were compared. */
  compared(count?: number): void;
  /** Heartbeats what the step does now. @throws when it is cancelled: between two findings is where it may stop. */
  at(summary: string): void;
  /** Whether something is younger than `schedules.grace`. */
  isYoung(age: Age): boolean;
  add(finding: Finding): void;
  /** Adds a finding that a person decides about. */
  report(finding: NewFinding): void;
  /**
   * Repairs a finding, or not yet, or only says that it would, as its rule, its age and the run demand. A repair that
   * fails for good is a finding too, and the others go on.
   * @throws what a retry may fix.
   */
  repair(repair: Repair): Promise<void>;
  step(): ReconcileStep;
}

export async function createFindings(
  { metrics, config, database }: Pick<ControlDependencies, 'metrics' | 'config' | 'database'>,
  { backend, dryRun }: ReconcileRequest,
): Promise<Findings> {
  const databaseTime = await openDatabaseClock(database);
  const { grace } = config.schedules;
  // Only what is repaired would be missing from what a further try finds.
  const { repaired: findings = [] } = lastHeartbeat<{ repaired: Finding[] }>();
  const counts: Partial<Record<FindingKind, number>> = {};
  let compared = 0;
  let beatAtMs = -Infinity;
  for (const { kind } of findings) counts[kind] = (counts[kind] ?? 0) + 1;
  const isWithinGrace = (at: Date | null | undefined, now: Date): boolean =>
    at !== null && at !== undefined && now.getTime() - at.getTime() < grace;

  const at = (summary: string): void => {
    cancellationSignal().throwIfAborted();
    if (performance.now() - beatAtMs < HEARTBEAT_INTERVAL_MS) return;
    beatAtMs = performance.now();
    const repaired = findings.filter(({ action }) => action === 'repaired' || action === 'adopted');
    heartbeat({ stage: 'waiting', summary, repaired });
  };
  const isYoung = ({ since, writtenAt }: Age): boolean =>
    isWithinGrace(since, databaseTime()) || isWithinGrace(writtenAt, new Date());
  const add = (finding: Finding): void => {
    const { kind, object, action } = finding;
    if (findings.some((known) => known.kind === kind && known.object === object && known.action === action)) return;
    counts[kind] = (counts[kind] ?? 0) + 1;
    metrics.found({ backend, finding: kind, action });
    if (findings.length < LISTED) findings.push(finding);
  };
  const repair = async ({ finding, since, writtenAt, repair: run }: Repair): Promise<void> => {
    at(`${finding.kind}: ${finding.object}`);
    if (hasGrace[finding.kind] && isYoung({ since, writtenAt })) return add({ ...finding, action: 'young' });
    if (dryRun) return add({ ...finding, action: 'would-repair' });
    try {
      const repaired = await run();
      if (repaired === 'unfounded') return;
      if (typeof repaired === 'string') return add({ ...finding, action: repaired });
      add({ ...finding, found: `${finding.found}; ${repaired.kept}`, action: 'reported' });
    } catch (error) {
      if (!(error instanceof Failure && error.isFinal)) throw error;
      add({ ...finding, found: `${finding.found}; ${error.message}`, action: 'failed' });
    }
  };
  return {
    dryRun,
    compared: (count = 1) => {
      compared += count;
    },
    at,
    isYoung,
    add,
    report: (finding) => add({ ...finding, action: 'reported' }),
    repair,
    step: () => ({ looked: compared, findings, counts }),
  };
}

/** Values that the parts of one step on a backend share. */
export interface ReconcileRun {
  deps: BackendDependencies;
  backend: VolumeBackend;
  findings: Findings;
  workflowId: string;
  runId: string;
}

/** @throws BackendUnavailable when this worker does not hold the backend (retried by another). */
export async function beginRun(deps: BackendDependencies, name: BackendName, dryRun: boolean): Promise<ReconcileRun> {
  const backend = backendHeld(deps, name);
  return { deps, backend, findings: await createFindings(deps, { backend: name, dryRun }), ...workflowExecution() };
}

/** A backend's volumes in a state, read a page at a time. */
export function volumesIn({ deps, backend, findings }: ReconcileRun, state: VolumeState): AsyncIterable<VolumeRow> {
  return readPages(findings, `${state} volumes`, (afterId) =>
    listVolumesById(deps.database, { backend: backend.name, state, afterId, limit: PAGE_ROWS }),
  );
}

/** A backend's entries in a state, read a page at a time. */
export function entriesIn(
  { deps, backend, findings }: ReconcileRun,
  state: 'ready' | 'retired',
): AsyncIterable<EntryRow> {
  return readPages(findings, `${state} image-volumes`, (afterId) =>
    listEntries(deps.database, { backend: backend.name, state, afterId, limit: PAGE_ROWS }),
  );
}

async function* readPages<Row extends { id: unknown }>(
  findings: Findings,
  what: string,
  read: (afterId?: Row['id']) => Promise<Row[]>,
): AsyncIterable<Row> {
  let afterId: Row['id'] | undefined;
  for (;;) {
    const page = await read(afterId);
    findings.compared(page.length);
    for (const row of page) {
      findings.at(`checking ${what}`);
      yield row;
    }
    afterId = page.at(-1)?.id;
    if (page.length < PAGE_ROWS) return;
  }
}
