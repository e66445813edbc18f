import { quarantineEntry } from '../../db/entries/retirement';
import { recordEntryEvent } from '../../db/entries/entry-events';
import { markFound, markMissing, MISSING } from '../../db/reconcile/reconcile-volumes';
import type { EntryRow, VolumeRow } from '../../db/schema';
import type { ParentDescription } from '../backends/backend';
import { deleteEntry } from '../kit/delete-entry';
import { entriesIn, volumesIn, type Repaired, type ReconcileRun } from './reconcile-run';

/** Whether the backend holds the volume of every row that is available, and of those that were marked missing. */
export async function checkVolumes(run: ReconcileRun): Promise<void> {
  for await (const volume of volumesIn(run, 'available'))
    if (await isAbsent(run, volume)) await repairMissing(run, volume);
  for await (const volume of volumesIn(run, 'error'))
    if (volume.errorType === MISSING && !(await isAbsent(run, volume))) await repairFound(run, volume);
}

async function isAbsent({ backend }: ReconcileRun, { id }: VolumeRow): Promise<boolean> {
  return (await backend.describeVolume(id)).kind === 'absent';
}

async function repairMissing(run: ReconcileRun, volume: VolumeRow): Promise<void> {
  const { deps, backend, workflowId, runId } = run;
  const { id, sizeBytes, updatedAt, attachedTo } = volume;
  const found = `volume ${id} is available and not on backend ${backend.name}`;
  await run.findings.repair({
    finding: { kind: 'volume-missing', object: id, found, bytes: sizeBytes },
    since: updatedAt,
    repair: async () => {
      if (attachedTo !== null) return { kept: `it is attached to ${attachedTo}` };
      if (!(await isAbsent(run, volume))) return 'unfounded';
      const message = `volume ${id} is no longer on backend ${backend.name}`;
      return (await markMissing(deps.database, { volumeId: id, message, source: { workflowId, runId } }))
        ? 'repaired'
        : 'unfounded';
    },
  });
}

/** Its place was not mounted, or somebody has put it back. */
async function repairFound(run: ReconcileRun, { id, sizeBytes }: VolumeRow): Promise<void> {
  const source = { workflowId: run.workflowId, runId: run.runId };
  const found = `volume ${id} was missing and is on backend ${run.backend.name} again`;
  await run.findings.repair({
    finding: { kind: 'volume-missing', object: id, found, bytes: sizeBytes },
    since: null,
    repair: async () => ((await markFound(run.deps.database, { volumeId: id, source })) ? 'repaired' : 'unfounded'),
  });
}

/** Whether the backend holds, sealed, the image-volume of every entry that takes clones, or whose clones need it. */
export async function checkEntries(run: ReconcileRun): Promise<void> {
  for (const state of ['ready', 'retired'] as const) {
    for await (const entry of entriesIn(run, state)) {
      const parent = await run.backend.describeParent(entry.imageVolume);
      if (parent.kind === 'sealed') continue;
      const finding = findingOf(entry, parent);
      if (state === 'ready')
        await run.findings.repair({ finding, repair: async () => await quarantine(run, entry, parent) });
      // Nothing makes it whole again: its clones are reported.
      else if (entry.clones > 0)
        run.findings.report({ ...finding, found: `${finding.found}; ${entry.clones} volumes were cloned from it` });
    }
  }
}

type Unusable = Exclude<ParentDescription, { kind: 'sealed' }>;

function findingOf({ imageVolume, realBytes }: EntryRow, parent: Unusable) {
  const kind = parent.kind === 'absent' ? 'entry-missing' : 'entry-changed';
  const found = `image-volume ${imageVolume}: ${describe(parent)}`;
  return { kind, object: imageVolume, found, bytes: realBytes } as const;
}

function describe(parent: Unusable): string {
  return parent.kind === 'changed' ? parent.found : parent.kind;
}

/**
 * An eviction that was faster has taken the entry from `ready` before its image-volume went: then nothing was wrong.
 */
async function quarantine(run: ReconcileRun, { id, backend }: EntryRow, parent: Unusable): Promise<Repaired> {
  const { deps, workflowId } = run;
  const quarantined = await quarantineEntry(deps.database, { entryId: id, found: describe(parent), workflowId });
  if (quarantined.kind === 'not-ready') return 'unfounded';
  deps.metrics.quarantined({ backend });
  const detail = `the reconciler found its image-volume ${describe(parent)}`;
  await recordEntryEvent(deps.database, { entryId: id, kind: 'repaired', detail, workflowId });
  await deleteEntry(deps, run.backend, { entryId: id, workflowId });
  return 'repaired';
}
