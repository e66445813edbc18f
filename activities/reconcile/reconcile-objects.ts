import { listEntries } from '../../db/entries/entries';
import { readEntriesOf } from '../../db/reconcile/reconcile-adopt';
import { listVolumesById } from '../../db/reconcile/reconcile-volumes';
import { readReimaging } from '../../db/reimages';
import { readSnapshots } from '../../db/snapshots';
import { readVolumes } from '../../db/volumes';
import type { VolumeRow } from '../../db/schema';
import { uuidPattern, type BackendName, type SnapshotId, type VolumeId } from '../../workflows/contract/ids';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { BackendObject, ImageVolumeMarker, VolumeMarker } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { findEndingOfCreate } from '../kit/runs';
import { adoptVolumes, finishVolumes } from './adopt-volumes';
import { checkEntries, checkVolumes } from './check-presence';
import { classifyImageVolume, classifyPartial, classifyVolume, type ObjectRows, type Scan } from './classify-object';
import { beginRun, type ReconcileRequest, type ReconcileRun } from './reconcile-run';
import { checkSnapshots, compareSnapshot } from './reconcile-snapshots';
import { removeOrphans, removePartial, removeVolumeOfEndedRow } from './remove-leftovers';

/** Objects whose rows are read at once. */
const BATCH_OBJECTS = 200;

export interface ObjectsRequest extends ReconcileRequest {
  /** Makes rows again for volumes that have none. */
  adopt: boolean;
}

/**
 * Compares everything in the backend's place with the rows, and every row with the place. Heartbeats; repeated, killed
 * or late it compares everything again, and what is repaired already is in order.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createReconcileObjects(deps: BackendDependencies, name: BackendName) {
  return async function reconcileObjects({ dryRun, adopt }: ObjectsRequest): Promise<ReconcileStep> {
    const run = await beginRun(deps, name, dryRun);
    run.findings.at("listing the backend's objects");
    const scan = await scanObjects(run);
    if (await isUnmounted(run, scan)) return run.findings.step();
    await checkVolumes(run);
    await checkSnapshots(run, scan);
    await checkEntries(run);
    await finishVolumes(run, scan);
    const withoutRow = await adoptVolumes(run, scan, adopt);
    await removeOrphans(run, { scan, withoutRow });
    return run.findings.step();
  };
}

/**
 * Whether the place itself looks lost: nothing of this installation is there though rows say so. Then no row is
 * changed, and that is a finding. The backend itself refuses a place that is not there or is of another installation.
 */
async function isUnmounted({ deps, backend, findings }: ReconcileRun, { own }: Scan): Promise<boolean> {
  if (own > 0) return false;
  const { database } = deps;
  const volumes = await listVolumesById(database, { backend: backend.name, state: 'available', limit: 1 });
  const entries = await listEntries(database, { backend: backend.name, state: 'ready', limit: 1 });
  if (volumes.length + entries.length === 0) return false;
  const found = `backend ${backend.name} holds nothing of this installation, although rows say so: is its directory mounted? No row was changed`;
  findings.add({ kind: 'volume-missing', object: backend.name, found, bytes: null, action: 'failed' });
  return true;
}

/** Streams the backend's objects against the rows, a batch at a time, and repairs what concerns one object alone. */
async function scanObjects(run: ReconcileRun): Promise<Scan> {
  const scan: Scan = {
    own: 0,
    snapshots: new Set(),
    imageVolumes: new Map(),
    orphans: [],
    volumesWithoutRow: [],
    finished: [],
  };
  let batch: BackendObject[] = [];
  for await (const object of run.backend.list()) {
    batch.push(object);
    if (batch.length < BATCH_OBJECTS) continue;
    await compareBatch(run, scan, batch);
    batch = [];
  }
  await compareBatch(run, scan, batch);
  return scan;
}

/** Rows are read after their objects were seen: a row is there before its object is. */
async function compareBatch(run: ReconcileRun, scan: Scan, batch: BackendObject[]): Promise<void> {
  run.findings.compared(batch.length);
  run.findings.at(`comparing objects with rows, ${scan.own} of this installation so far`);
  const rows = await readRows(run, batch);
  for (const object of batch) {
    if (object.kind === 'foreign') reportForeign(run, object);
    else if (object.partial) await comparePartial(run, object, rows);
    else if (object.marker?.kind === 'snapshot') await compareSnapshot({ run, scan, rows }, object, object.marker);
    else if (object.marker?.kind === 'volume') await compareVolume({ run, scan, rows }, object, object.marker);
    else if (object.marker?.kind === 'image-volume') compareImageVolume({ scan, rows }, object, object.marker);
  }
}

async function readRows({ deps, backend }: ReconcileRun, batch: BackendObject[]): Promise<ObjectRows> {
  const namesOf = (kind: 'volume' | 'snapshot' | 'image-volume'): string[] => [
    ...new Set(
      batch
        .filter((object) => (object.partial?.kind ?? object.kind) === kind)
        .map(({ name, partial }) => partial?.name ?? name),
    ),
  ];
  const volumeIds = namesOf('volume').filter((name): name is VolumeId => uuidPattern.test(name));
  const snapshotIds = namesOf('snapshot').filter((name): name is SnapshotId => uuidPattern.test(name));
  const imageVolumes = namesOf('image-volume');
  return {
    volumes: await readVolumes(deps.database, volumeIds),
    reimaging: await readReimaging(deps.database, volumeIds),
    snapshots: await readSnapshots(deps.database, snapshotIds),
    entries: await readEntriesOf(deps.database, { backend: backend.name, imageVolumes }),
  };
}

function reportForeign(run: ReconcileRun, { name, realBytes, marker }: BackendObject): void {
  const whose = marker === undefined ? 'it has no marker of ours' : `it is of installation ${marker.installation}`;
  run.findings.report({ kind: 'foreign', object: name, found: `${name}: ${whose}`, bytes: realBytes });
}

async function comparePartial(run: ReconcileRun, object: BackendObject, rows: ObjectRows): Promise<void> {
  const found = classifyPartial(object, rows);
  if (found === 'foreign') reportForeign(run, object);
  const isLeftover = found === 'leftover' || (found === 'spare' && (await hasVolume(run, object)));
  if (isLeftover) await removePartial(run, object);
}

async function hasVolume({ backend }: ReconcileRun, { partial }: BackendObject): Promise<boolean> {
  return (await backend.describeVolume(partial?.name as VolumeId)).kind === 'present';
}

interface Comparison {
  run: ReconcileRun;
  scan: Scan;
  rows: ObjectRows;
}

async function compareVolume(
  { run, scan, rows }: Comparison,
  object: BackendObject,
  marker: VolumeMarker,
): Promise<void> {
  scan.own += 1;
  const row = rows.volumes.get(object.name as VolumeId);
  const found = classifyVolume(row, run.backend.name);
  if (found === 'without-row') scan.volumesWithoutRow.push({ ...object, marker });
  if (found === 'elsewhere') reportElsewhere(run, object, row);
  if (found === 'ended' && row)
    await removeVolumeOfEndedRow(run, object, { row, endedAt: row.deletedAt ?? row.updatedAt });
  if (found !== 'unfinished' || !row) return;
  const { ending, closedAt } = await findEndingOfCreate(run.deps, row);
  if (ending === 'completed' || ending === 'unknown') scan.finished.push({ volume: { ...object, marker }, row });
  // A row that is still creating was handled by `reconcileRows`.
  if (ending === 'failed' && row.state === 'error')
    await removeVolumeOfEndedRow(run, object, { row, endedAt: closedAt ?? row.updatedAt });
}

function reportElsewhere(run: ReconcileRun, { name, realBytes }: BackendObject, row: VolumeRow | undefined): void {
  const found = `volume ${name}: its row is of backend ${row?.backend}`;
  run.findings.report({ kind: 'volume-without-row', object: name, found, bytes: realBytes });
}

function compareImageVolume(
  { scan, rows }: Omit<Comparison, 'run'>,
  object: BackendObject,
  marker: ImageVolumeMarker,
): void {
  scan.own += 1;
  const found = { ...object, marker };
  scan.imageVolumes.set(object.name, found);
  const row = rows.entries.get(object.name);
  if (classifyImageVolume(row) === 'orphan') scan.orphans.push({ object: found, row });
}
