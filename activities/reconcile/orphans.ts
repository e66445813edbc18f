import { readEntriesOf } from '../../db/reconcile/reconcile-adopt';
import { Failure } from '../../workflows/contract/failures';
import { judgeImageVolume } from './judge-object';
import { report, settle, type Repaired } from './repair';
import type { ReconcileRun } from './run';
import type { Scan } from './scan';

/**
 * Image-volumes without a row. As long as any volume has none, the database may be older than the backend: then each may be the parent of one that is
 * to be adopted, and stays.
 */
export async function removeOrphans(
  run: ReconcileRun,
  { scan, withoutRow }: { scan: Scan; withoutRow: number },
): Promise<void> {
  for (const { object, row } of scan.orphans) {
    const { name, realBytes, modifiedAt } = object;
    const found = `image-volume ${name} ${row === undefined ? 'has no row' : 'is there, and its row is gone'}`;
    const finding = { kind: 'image-volume-without-row', object: name, found, bytes: realBytes } as const;
    if (withoutRow > 0) report(run, { ...finding, found: `${found}; kept while ${withoutRow} volumes have no row` });
    else
      await settle(run, {
        finding,
        since: row?.goneAt,
        writtenAt: modifiedAt,
        repair: async () => await remove(run, name),
      });
  }
}

/** Its row may have been made again for a volume that was adopted; clones that no row tells of keep it too. */
async function remove({ deps, backend }: ReconcileRun, name: string): Promise<Repaired> {
  const rows = await readEntriesOf(deps.database, { backend: backend.name, imageVolumes: [name] });
  if (judgeImageVolume(rows.get(name)) === 'in-order') return 'unfounded';
  try {
    await backend.ensureImageVolumeAbsent(name);
    return 'repaired';
  } catch (error) {
    if (error instanceof Failure && error.type === 'ParentUnusable') return { kept: error.message };
    throw error;
  }
}
