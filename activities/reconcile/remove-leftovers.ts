import { readEntriesOf } from '../../db/reconcile/reconcile-adopt';
import { removeBytesOf } from '../../db/reconcile/reconcile-volumes';
import type { VolumeRow } from '../../db/schema';
import { isFailure } from '../../workflows/contract/failures';
import type { BackendObject } from '../backends/backend';
import { classifyImageVolume, type Scan } from './classify-object';
import type { Repaired, ReconcileRun } from './reconcile-run';

/** Removes an attempt's object that was not published. */
export async function removePartial(
  run: ReconcileRun,
  { name, partial, realBytes, modifiedAt }: BackendObject,
): Promise<void> {
  if (partial === undefined) return;
  const found = `an attempt at ${partial.kind} ${partial.name} that no run finishes`;
  await run.findings.repair({
    finding: { kind: 'partial', object: name, found, bytes: realBytes },
    writtenAt: modifiedAt,
    repair: async () => {
      await run.backend.ensureAttemptAbsent(partial);
      return 'repaired';
    },
  });
}

/**
 * A late step has made a volume whose row was ending. One that was written after the end is kept: the row may be that
 * of an older database, which knows nothing of who got the volume since.
 */
export async function removeVolumeOfEndedRow(
  run: ReconcileRun,
  { name, realBytes, modifiedAt }: BackendObject,
  { row, endedAt }: { row: VolumeRow; endedAt: Date },
): Promise<void> {
  const { deps, backend } = run;
  // Its delete may have been faster.
  if ((await backend.describeVolume(row.id)).kind === 'absent') return;
  const found = `volume ${name} is there, and its row is ${row.state}`;
  const finding = { kind: 'volume-of-deleted-row', object: name, found, bytes: realBytes } as const;
  if (modifiedAt > endedAt)
    return run.findings.report({ ...finding, found: `${found}; ${keptAsNewer(modifiedAt, endedAt)}` });
  await run.findings.repair({
    finding,
    since: row.deletedAt ?? row.updatedAt,
    repair: async () => {
      const opener = await backend.findOpener(row.id);
      if (opener !== undefined) return { kept: `${opener} has it open` };
      const remove = async (): Promise<void> => await backend.ensureVolumeAbsent(row.id);
      return (await removeBytesOf(deps.database, { volume: row, remove })) ? 'repaired' : 'unfounded';
    },
  });
}

/** Why something stays that is newer than the end for which it would be removed. */
export function keptAsNewer(modifiedAt: Date, endedAt: Date): string {
  return `kept, since it was written at ${modifiedAt.toISOString()}, after that ended at ${endedAt.toISOString()}`;
}

/**
 * Image-volumes without a row. As long as any volume has none, the database may be older than the backend: then each
 * may be the parent of one that is to be adopted, and stays.
 */
export async function removeOrphans(
  run: ReconcileRun,
  { scan, withoutRow }: { scan: Scan; withoutRow: number },
): Promise<void> {
  for (const { object, row } of scan.orphans) {
    const { name, realBytes, modifiedAt } = object;
    const found = `image-volume ${name} ${row === undefined ? 'has no row' : 'is there, and its row is gone'}`;
    const finding = { kind: 'image-volume-without-row', object: name, found, bytes: realBytes } as const;
    if (withoutRow > 0)
      run.findings.report({ ...finding, found: `${found}; kept while ${withoutRow} volumes have no row` });
    else
      await run.findings.repair({
        finding,
        since: row?.goneAt,
        writtenAt: modifiedAt,
        repair: async () => await removeOrphan(run, name),
      });
  }
}

/** Its row may have been made again for a volume that was adopted; clones that no row tells of keep it too. */
async function removeOrphan({ deps, backend }: ReconcileRun, name: string): Promise<Repaired> {
  const rows = await readEntriesOf(deps.database, { backend: backend.name, imageVolumes: [name] });
  if (classifyImageVolume(rows.get(name)) === 'in-order') return 'unfounded';
  try {
    await backend.ensureImageVolumeAbsent(name);
    return 'repaired';
  } catch (error) {
    if (isFailure(error, 'ParentUnusable')) return { kept: error.message };
    throw error;
  }
}
