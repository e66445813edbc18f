import { forgetScratch, listScratch } from '../../db/scratch-files';
import type { ScratchFileRow } from '../../db/schema';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { HostDependencies } from '../dependencies';
import type { ScratchEntry } from '../image/scratch';
import { isRunning } from '../kit/runs';
import { releaseScratchOf } from '../kit/scratch-use';
import { createFindings, type Findings, type ReconcileRequest } from './reconcile-run';

/**
 * Makes files and rows of this host's scratch agree while it works: unused files, and rows without a file, go once they
 * are old enough. Idempotent. The backend is whose reconciliation asks: a host's scratch is compared as a whole.
 */
export function createReconcileScratch(deps: HostDependencies) {
  return async function reconcileScratch(request: ReconcileRequest): Promise<ReconcileStep> {
    const findings = await createFindings(deps, request);
    // Files first: a row is there before its file is.
    const files = await deps.scratch.list();
    const rows = await listScratch(deps.database, { hostId: deps.hostId });
    const orphans = files.filter(({ contentHash }) => !rows.some((row) => row.contentHash === contentHash));
    findings.compared(rows.length + orphans.length);
    for (const file of orphans) await removeOrphan(deps, findings, file);
    for (const row of rows) {
      findings.at(`checking scratch file ${row.contentHash}`);
      const isThere = files.some(({ contentHash }) => contentHash === row.contentHash);
      await removeUnused(deps, findings, { row, isThere });
    }
    return findings.step();
  };
}

async function removeOrphan(deps: HostDependencies, findings: Findings, file: ScratchEntry): Promise<void> {
  const { contentHash, bytes, modifiedAt, complete } = file;
  const found = `a ${complete ? 'complete' : 'partial'} file on host ${deps.hostId} that no row names`;
  await findings.repair({
    finding: { kind: 'scratch-without-row', object: contentHash, found, bytes },
    writtenAt: modifiedAt,
    repair: async () => {
      await deps.scratch.remove(contentHash);
      return 'repaired';
    },
  });
}

/** A row whose users all have ended goes, and its file; one without a file goes when nobody that runs waits for it. */
async function removeUnused(
  deps: HostDependencies,
  findings: Findings,
  { row, isThere }: { row: ScratchFileRow; isThere: boolean },
): Promise<void> {
  const { contentHash, users, lastUsedAt: since } = row;
  const { database, hostId, scratch } = deps;
  const ended = await filterEnded(deps, users);
  if (ended.length < users.length) {
    if (!findings.dryRun && !findings.isYoung({ since })) await release(deps, contentHash, ended);
    return;
  }
  const by = users.length === 0 ? 'nobody uses it' : `used by ${users.join(', ')}, which ended`;
  const kind = isThere ? 'scratch-unused' : 'scratch-row-without-file';
  await findings.repair({
    finding: {
      kind,
      object: contentHash,
      found: `on host ${hostId}; ${by}`,
      bytes: row.bytesReal ?? row.bytesReserved,
    },
    since,
    repair: async () => {
      await release(deps, contentHash, ended);
      if (await forgetScratch(database, { hostId, contentHash })) await scratch.remove(contentHash);
      return 'repaired';
    },
  });
}

async function filterEnded(deps: HostDependencies, users: string[]): Promise<string[]> {
  const ended: string[] = [];
  for (const user of users) if (!(await isRunning(deps, { workflowId: user }))) ended.push(user);
  return ended;
}

async function release(deps: HostDependencies, contentHash: string, users: string[]): Promise<void> {
  for (const user of users) await releaseScratchOf(deps, { contentHash, user });
}
