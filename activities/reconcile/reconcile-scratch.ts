import { forgetScratch, listScratch } from '../../db/scratch-files';
import type { ScratchFileRow } from '../../db/types';
import type { BackendName } from '../../workflows/contract/ids';
import type { Finding, ReconcileStep } from '../../workflows/contract/reconcile';
import type { HostDependencies } from '../dependencies';
import type { ScratchEntry } from '../image/scratch';
import { releaseScratchOf } from '../kit/scratch-files';
import { createCollector } from './collector';
import { createAgeJudge, type Age } from './run';
import { isRunning } from '../kit/runs';

export interface ScratchLook {
  /** Whose reconciliation asks: a host's scratch is looked at as a whole. */
  backend: BackendName;
  dryRun: boolean;
}

/** Makes files and rows of this host's scratch agree while it works: what nobody uses and what is not there goes, once it is old enough. Idempotent. */
export function createReconcileScratch(deps: HostDependencies) {
  return async function reconcileScratch({ backend, dryRun }: ScratchLook): Promise<ReconcileStep> {
    const collector = createCollector(deps, backend);
    const isYoung = await createAgeJudge(deps);
    // Files first: a row is there before its file is.
    const files = await deps.scratch.list();
    const rows = await listScratch(deps.database, { hostId: deps.hostId });
    const orphans = files.filter(({ contentHash }) => !rows.some((row) => row.contentHash === contentHash));
    collector.looked(rows.length + orphans.length);
    for (const file of orphans) collector.add(await removeOrphan(deps, { file, isYoung, dryRun }));
    for (const row of rows) {
      collector.at(`looking at scratch file ${row.contentHash}`);
      const isThere = files.some(({ contentHash }) => contentHash === row.contentHash);
      const finding = await judgeRow(deps, { row, isThere, isYoung, dryRun });
      if (finding) collector.add(finding);
    }
    return collector.step();
  };
}

interface Judging {
  isYoung: (age: Age) => boolean;
  dryRun: boolean;
}

async function removeOrphan(
  deps: HostDependencies,
  { file, isYoung, dryRun }: Judging & { file: ScratchEntry },
): Promise<Finding> {
  const { contentHash, bytes, modifiedAt } = file;
  const finding = {
    kind: 'scratch-without-row',
    object: contentHash,
    found: `a ${file.complete ? 'complete' : 'partial'} file on host ${deps.hostId} that no row names`,
    bytes,
  } as const;
  if (isYoung({ writtenAt: modifiedAt })) return { ...finding, action: 'young' };
  if (dryRun) return { ...finding, action: 'would-repair' };
  await deps.scratch.remove(contentHash);
  return { ...finding, action: 'repaired' };
}

/** A row whose users all have ended goes, and its file; one without a file goes when nobody that runs waits for it. */
async function judgeRow(
  deps: HostDependencies,
  { row, isThere, isYoung, dryRun }: Judging & { row: ScratchFileRow; isThere: boolean },
): Promise<Finding | undefined> {
  const { contentHash, users } = row;
  const ended = await filterEnded(deps, users);
  if (ended.length < users.length) {
    if (!dryRun && !isYoung({ since: row.lastUsedAt })) await release(deps, contentHash, ended);
    return undefined;
  }
  const by = users.length === 0 ? 'nobody uses it' : `used by ${users.join(', ')}, which ended`;
  const finding = {
    kind: isThere ? 'scratch-unused' : 'scratch-row-without-file',
    object: contentHash,
    found: `on host ${deps.hostId}; ${by}`,
    bytes: row.bytesReal ?? row.bytesReserved,
  } as const;
  if (isYoung({ since: row.lastUsedAt })) return { ...finding, action: 'young' };
  if (dryRun) return { ...finding, action: 'would-repair' };
  await release(deps, contentHash, ended);
  if (await forgetScratch(deps.database, { hostId: deps.hostId, contentHash })) await deps.scratch.remove(contentHash);
  return { ...finding, action: 'repaired' };
}

async function filterEnded(deps: HostDependencies, users: string[]): Promise<string[]> {
  const ended: string[] = [];
  for (const user of users) if (!(await isRunning(deps, { workflowId: user }))) ended.push(user);
  return ended;
}

async function release(deps: HostDependencies, contentHash: string, users: string[]): Promise<void> {
  for (const user of users) await releaseScratchOf(deps, { contentHash, user });
}
