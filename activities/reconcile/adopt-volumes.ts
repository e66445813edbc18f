import { adoptEntry, adoptVolume, finishVolume, type MarkedVolume } from '../../db/reconcile/reconcile-adopt';
import { readVolumes } from '../../db/volumes';
import { formatBytes, SECTOR_BYTES } from '../../workflows/contract/bytes';
import type { EntryId } from '../../workflows/contract/ids';
import type { Finding } from '../../workflows/contract/reconcile';
import type { VolumeMarker } from '../backends/backend';
import { isOwnVolume, type FoundObject, type Scan } from './classify-object';
import type { ReconcileRun } from './reconcile-run';

/**
 * Reports volumes of this installation without a row or, when asked to, makes their rows again from their markers,
 * `available`, with their hold on the parent that they need.
 * @returns how many have no row after it.
 */
export async function adoptVolumes(run: ReconcileRun, scan: Scan, adopt: boolean): Promise<number> {
  let withoutRow = 0;
  for (const volume of scan.volumesWithoutRow) {
    run.findings.at(`volume ${volume.name} has no row`);
    const finding = await adoptOrReport(run, { scan, volume, adopt });
    if (finding === undefined) continue;
    run.findings.add(finding);
    if (finding.action !== 'adopted') withoutRow += 1;
  }
  return withoutRow;
}

interface Adoption {
  scan: Scan;
  volume: FoundObject<VolumeMarker>;
  adopt: boolean;
}

/** @returns undefined when the volume is gone by now. */
async function adoptOrReport(run: ReconcileRun, { scan, volume, adopt }: Adoption): Promise<Finding | undefined> {
  const { name, marker, realBytes } = volume;
  const found = `volume ${name}${marker.name === null ? '' : ` (${marker.name})`} of project ${marker.projectId}, ${formatBytes(marker.sizeBytes)}, has no row`;
  const finding = { kind: 'volume-without-row', object: name, found, bytes: realBytes } as const;
  const failed = (why: string): Finding => ({ ...finding, found: `${found}; ${why}`, action: 'failed' });
  if (!isOwnVolume(volume)) return failed('its marker is of another volume');
  if (!adopt) return { ...finding, found: `${found}; --adopt restores it`, action: 'reported' };
  if (run.findings.dryRun) return { ...finding, action: 'would-adopt' };
  const adopted = await adoptOne(run, { scan, marker });
  if (adopted === 'absent') return undefined;
  return adopted === 'adopted' ? { ...finding, action: 'adopted' } : failed(adopted.why);
}

type Adopted = 'adopted' | 'absent' | { why: string };

/** The backend's description of a volume, and the entry of the parent that it needs. */
type Described = Pick<MarkedVolume, 'sizeBytes' | 'connection' | 'entryId'>;

async function describe(
  run: ReconcileRun,
  { scan, marker }: { scan: Scan; marker: VolumeMarker },
): Promise<Described | 'absent' | { why: string }> {
  const described = await run.backend.describeVolume(marker.volumeId);
  if (described.kind === 'absent') return 'absent';
  const { sizeBytes, connection, parent } = described;
  if (sizeBytes <= 0 || sizeBytes % SECTOR_BYTES !== 0) return { why: `its size is ${sizeBytes} bytes` };
  if (parent === undefined) return { sizeBytes, connection };
  const { entryId, why } = await adoptParent(run, scan, parent);
  return why === undefined ? { sizeBytes, connection, entryId } : { why };
}

async function adoptOne(run: ReconcileRun, { scan, marker }: { scan: Scan; marker: VolumeMarker }): Promise<Adopted> {
  const described = await describe(run, { scan, marker });
  if (described === 'absent' || 'why' in described) return described;
  const { volumeId, projectId, name, cacheKey: key, content: contentId } = marker;
  const isAdopted = await adoptVolume(run.deps.database, {
    found: { volumeId, projectId, name, backend: run.backend.name, key, contentId, ...described },
    workflowId: run.deps.queues.ids.createVolume(volumeId),
    runId: run.runId,
    source: { workflowId: run.workflowId, runId: run.runId },
  });
  return isAdopted ? 'adopted' : { why: 'its row or its parent has changed meanwhile' };
}

/**
 * Rows that are older than their volumes: the run that made them completed, or is past knowing, so somebody may have
 * got them.
 */
export async function finishVolumes(run: ReconcileRun, scan: Scan): Promise<void> {
  for (const { volume, row } of scan.finished) {
    const now = (await readVolumes(run.deps.database, [row.id])).get(row.id);
    if (now?.state !== row.state || now.runId !== row.runId) continue;
    const { name, marker, realBytes } = volume;
    const source = { workflowId: run.workflowId, runId: run.runId };
    const kind = row.state === 'creating' ? 'stuck-creating' : 'volume-of-deleted-row';
    const found = `volume ${name} is complete, and its row is ${row.state}`;
    await run.findings.repair({
      finding: { kind, object: name, found, bytes: realBytes },
      since: row.updatedAt,
      repair: async () => {
        if (!isOwnVolume(volume)) return { kept: 'its marker is of another volume' };
        const described = await describe(run, { scan, marker });
        if (described === 'absent') return 'unfounded';
        if ('why' in described) return { kept: described.why };
        return (await finishVolume(run.deps.database, { volume: row, source, ...described }))
          ? 'repaired'
          : 'unfounded';
      },
    });
  }
}

/** @returns the entry to hold, or why there is none. */
async function adoptParent(
  { deps, backend, workflowId }: ReconcileRun,
  { imageVolumes }: Scan,
  parent: string,
): Promise<{ entryId: EntryId; why?: undefined } | { entryId?: undefined; why: string }> {
  const imageVolume = imageVolumes.get(parent);
  if (imageVolume === undefined) return { why: `its image-volume ${parent} is not on the backend` };
  const { marker, realBytes } = imageVolume;
  const { cacheKey: key, generation, virtualBytes } = marker;
  const found = { backend: backend.name, imageVolume: parent, key, generation, virtualBytes, realBytes };
  const entryId = await adoptEntry(deps.database, { found, workflowId });
  return entryId === undefined ? { why: `its image-volume ${parent} is being populated or deleted` } : { entryId };
}
