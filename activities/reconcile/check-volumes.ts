import { listEntries } from '../../db/entries/entries';
import { listVolumesById, markFound, markMissing, MISSING } from '../../db/reconcile/reconcile-volumes';
import type { VolumeRow } from '../../db/types';
import { settle } from './repair';
import type { ReconcileRun } from './run';
import type { Scan } from './scan';
import { volumesIn } from './volume-rows';

/**
 * Whether the place itself looks lost: nothing of this installation is there though rows say so. Then nothing is condemned, and a person is told.
 * A place of another installation, or none, is told by the backend before this.
 */
export async function isUnmounted({ deps, backend, collector }: ReconcileRun, { own }: Scan): Promise<boolean> {
  if (own > 0) return false;
  const { database } = deps;
  const volumes = await listVolumesById(database, { backend: backend.name, state: 'available', limit: 1 });
  const entries = await listEntries(database, { backend: backend.name, state: 'ready', limit: 1 });
  if (volumes.length + entries.length === 0) return false;
  const found = `nothing of this installation is on backend ${backend.name}, though rows say so: is its place mounted? No row is touched`;
  collector.add({ kind: 'volume-missing', object: backend.name, found, bytes: null, action: 'failed' });
  return true;
}

/** Looks for the volume of every row that is available, and of those that were marked missing. */
export async function checkVolumes(run: ReconcileRun): Promise<void> {
  for await (const volume of volumesIn(run, 'available'))
    if (await isAbsent(run, volume)) await settleMissing(run, volume);
  for await (const volume of volumesIn(run, 'error'))
    if (volume.errorType === MISSING && !(await isAbsent(run, volume))) await settleFound(run, volume);
}

async function isAbsent({ backend }: ReconcileRun, { id }: VolumeRow): Promise<boolean> {
  return (await backend.describeVolume(id)).kind === 'absent';
}

async function settleMissing(run: ReconcileRun, volume: VolumeRow): Promise<void> {
  const { deps, backend } = run;
  const { id, sizeBytes, updatedAt, attachedTo } = volume;
  await settle(run, {
    finding: {
      kind: 'volume-missing',
      object: id,
      found: `volume ${id} is available and not on backend ${backend.name}`,
      bytes: sizeBytes,
    },
    since: updatedAt,
    repair: async () => {
      if (attachedTo !== null) return { kept: `it is attached to ${attachedTo}` };
      if (!(await isAbsent(run, volume))) return 'unfounded';
      const message = `volume ${id} is no longer on backend ${backend.name}`;
      return (await markMissing(deps.database, { volumeId: id, message })) ? 'repaired' : 'unfounded';
    },
  });
}

/** Its place was not mounted, or somebody has put it back. */
async function settleFound(run: ReconcileRun, { id, sizeBytes }: VolumeRow): Promise<void> {
  const found = `volume ${id} was missing and is on backend ${run.backend.name} again`;
  await settle(run, {
    finding: { kind: 'volume-missing', object: id, found, bytes: sizeBytes },
    since: null,
    repair: async () => ((await markFound(run.deps.database, { volumeId: id })) ? 'repaired' : 'unfounded'),
  });
}
