/**
 * `ReconcileBackend`: makes rows, backend and scratch agree again, trusting the disk.
 *
 *   rows whose run is dead -> objects against rows, rows against objects -> entries against the image policy -> digests -> scratches
 *
 * The action for each finding is in one table, in `docs/manual/failures.md`. A part that fails for good becomes a sentence of the summary;
 * the others still run, and the next run checks everything again.
 */
import { log, setCurrentDetails } from '@temporalio/workflow';
import type { ReconcilePlan } from '../activities/reconcile/reconcile-request';
import type { HostId } from './contract/ids';
import type { ReconcileInput, ReconcileResult, ReconcileStep } from './contract/reconcile';
import { evicting, heartbeating, inTask, onBackend, onScratch } from './lib/activity-profiles';
import { findBackendFailure, findTimeout, isCancelled, typed } from './lib/fail';
import { inParallel } from './lib/in-parallel';
import { describeReconciled, describeReconciling, summarizeReconciliation } from './lib/reconcile-details';

/** The first findings, which the result has in full. */
const TOLD = 200;
const HOSTS_AT_ONCE = 4;
/** Milliseconds in which the control worker and the backend's must have answered what is no check of its own. */
const SHORT_BUDGET_MS = 2 * 60_000;
const POLICY_BUDGET_MS = 30 * 60_000;

export async function ReconcileBackend(input: ReconcileInput): Promise<ReconcileResult> {
  const planStep = { summary: 'check the request, list the hosts' };
  const plan = await typed(() => inTask(planStep, (a) => a.planReconcile(input)));
  const result = emptyResult(plan);
  const { backend, dryRun, adopt, scrub } = plan;
  await check(result, 'rows whose run is dead', (summary) =>
    evicting(backend, { summary }).reconcileRows({ backend, dryRun }),
  );
  await check(result, "the backend's objects", (summary) =>
    evicting(backend, { summary }).reconcileObjects({ backend, dryRun, adopt }),
  );
  await check(result, 'entries against the image policy', (summary) =>
    heartbeating({ summary, budgetMs: POLICY_BUDGET_MS }).recheckPolicy({ backend, dryRun }),
  );
  await check(result, scrub ? 'digests and scrubs' : 'digests', (summary) =>
    evicting(backend, { summary }).digestParents({ dryRun, scrub }),
  );
  await checkScratches(plan, result);
  result.summary = summarizeReconciliation(result);
  setCurrentDetails(describeReconciled(result));
  return result;
}

/** Adds what one part has found, or that it could not be checked. */
async function check(
  result: ReconcileResult,
  what: string,
  part: (summary: string) => Promise<ReconcileStep>,
): Promise<void> {
  setCurrentDetails(describeReconciling(result, what));
  try {
    add(result, await part(`check ${what}`));
  } catch (error) {
    const failure = isCancelled(error) ? undefined : findBackendFailure(result.backend, error);
    if (failure === undefined) throw error;
    log.warn('a part of the reconciliation is left to the next run', { what, failureType: failure.type });
    result.problems.push(`${what}: ${failure.message}`);
  }
}

/** Those that the inventory knows, and that of a host which holds the backend. */
async function checkScratches(
  { backend, dryRun, hosts: known }: ReconcilePlan,
  result: ReconcileResult,
): Promise<void> {
  const hosts = new Set(known);
  await check(result, 'the hosts of the backend', async () => {
    const { hostId } = await onBackend(backend, { summary: 'pick a host', budgetMs: SHORT_BUDGET_MS }).pickHost();
    hosts.add(hostId);
    return { looked: 0, findings: [] };
  });
  await inParallel([...hosts], HOSTS_AT_ONCE, async (host) => {
    await check(result, `the scratch of host ${host}`, async (summary) => {
      try {
        return await onScratch(host, { summary }).reconcileScratch({ backend, dryRun });
      } catch (error) {
        if (findTimeout(error) !== 'SCHEDULE_TO_START') throw error;
        return lostHost(host);
      }
    });
  });
}

function lostHost(host: HostId): ReconcileStep {
  const found = `no worker polls the queue of host ${host}, whose scratch the inventory knows`;
  const finding = { kind: 'scratch-of-lost-host', object: host, found, bytes: null, action: 'reported' } as const;
  return { looked: 1, findings: [finding] };
}

function add(result: ReconcileResult, { looked, findings, counts, digested = 0, scrubbed = 0 }: ReconcileStep): void {
  result.looked += looked;
  result.digested += digested;
  result.scrubbed += scrubbed;
  result.findings = [...result.findings, ...findings].slice(0, TOLD);
  for (const [kind, count] of Object.entries(counts ?? countKinds(findings)) as [keyof typeof result.counts, number][])
    result.counts[kind] = (result.counts[kind] ?? 0) + count;
}

function countKinds(findings: ReconcileStep['findings']): ReconcileResult['counts'] {
  const counts: ReconcileResult['counts'] = {};
  for (const { kind } of findings) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function emptyResult({ backend, dryRun }: ReconcilePlan): ReconcileResult {
  return {
    backend,
    dryRun,
    looked: 0,
    findings: [],
    counts: {},
    digested: 0,
    scrubbed: 0,
    problems: [],
    summary: '',
  };
}
