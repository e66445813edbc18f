import { removeBytesOf } from '../../db/queries/reconcile-volumes';
import type { VolumeRow } from '../../db/types';
import type { BackendObject } from '../backends/backend';
import { settle } from './repair';
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
    since: modifiedAt,
    repair: async () => {
      await run.backend.ensureAttemptAbsent(partial);
      return 'repaired';
    },
  });
}

/** A late step has made a volume whose row had ended by then. */
export async function settleVolumeOfEndedRow(
  run: ReconcileRun,
  { name, realBytes }: BackendObject,
  row: VolumeRow,
): Promise<void> {
  const { deps, backend } = run;
  // Its delete may have been faster than this look.
  if ((await backend.describeVolume(row.id)).kind === 'absent') return;
  await settle(run, {
    finding: {
      kind: 'volume-of-deleted-row',
      object: name,
      found: `volume ${name} is there, and its row is ${row.state}`,
      bytes: realBytes,
    },
    since: row.deletedAt ?? row.updatedAt,
    repair: async () => {
      const opener = await backend.findOpener(row.id);
      if (opener !== undefined) return { kept: `${opener} has it open` };
      const remove = async (): Promise<void> => await backend.ensureVolumeAbsent(row.id);
      return (await removeBytesOf(deps.database, { volume: row, remove })) ? 'repaired' : 'unfounded';
    },
  });
}
