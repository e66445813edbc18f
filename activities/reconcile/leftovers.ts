import { removeBytesOf } from '../../db/reconcile/reconcile-volumes';
import type { VolumeRow } from '../../db/types';
import type { BackendObject } from '../backends/backend';
import { report, settle } from './repair';
import type { ReconcileRun } from './run';

/** What an attempt has written and not published. */
export async function settlePartial(
  run: ReconcileRun,
  { name, partial, realBytes, modifiedAt }: BackendObject,
): Promise<void> {
  if (partial === undefined) return;
  await settle(run, {
    finding: {
      kind: 'partial',
      object: name,
      found: `an attempt at ${partial.kind} ${partial.name} that nobody finishes`,
      bytes: realBytes,
    },
    writtenAt: modifiedAt,
    repair: async () => {
      await run.backend.ensureAttemptAbsent(partial);
      return 'repaired';
    },
  });
}

/**
 * A late step has made a volume whose row was ending. One that was written after the end is kept: the row may be that of an older database, which knows
 * nothing of who got the volume since.
 */
export async function settleVolumeOfEndedRow(
  run: ReconcileRun,
  { name, realBytes, modifiedAt }: BackendObject,
  { row, endedAt }: { row: VolumeRow; endedAt: Date },
): Promise<void> {
  const { deps, backend } = run;
  // Its delete may have been faster than this look.
  if ((await backend.describeVolume(row.id)).kind === 'absent') return;
  const found = `volume ${name} is there, and its row is ${row.state}`;
  const finding = { kind: 'volume-of-deleted-row', object: name, found, bytes: realBytes } as const;
  if (modifiedAt > endedAt) return report(run, { ...finding, found: `${found}; ${keptAsNewer(modifiedAt, endedAt)}` });
  await settle(run, {
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

/** Why something stays that is newer than what condemns it. */
export function keptAsNewer(modifiedAt: Date, endedAt: Date): string {
  return `kept, since it was written at ${modifiedAt.toISOString()}, after that ended at ${endedAt.toISOString()}`;
}
