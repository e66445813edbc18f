import { readEntriesOf } from '../../db/reconcile/reconcile-adopt';
import { readVolumes } from '../../db/reconcile/reconcile-volumes';
import type { EntryRow, VolumeRow } from '../../db/types';
import type { VolumeId } from '../../workflows/contract/ids';
import { uuidPattern } from '../../workflows/contract/ids';
import type { BackendObject, ImageVolumeMarker, VolumeMarker } from '../backends/backend';
import { findEndingOfCreate } from '../kit/runs';
import { judgeImageVolume, judgePartial, judgeVolume, type ObjectRows } from './judge-object';
import { settlePartial, settleVolumeOfEndedRow } from './leftovers';
import { report } from './repair';
import type { ReconcileRun } from './run';

/** Objects whose rows are read at once. */
const BATCH_OBJECTS = 200;

export interface FoundObject<Marker> {
  name: string;
  marker: Marker;
  realBytes: number;
  modifiedAt: Date;
}

/** What one look at everything in the backend's place has found. */
export interface Scan {
  /** Volumes and image-volumes of this installation. */
  own: number;
  imageVolumes: Map<string, FoundObject<ImageVolumeMarker>>;
  /** Image-volumes without a row, or whose row is gone, and that row. */
  orphans: { object: FoundObject<ImageVolumeMarker>; row: EntryRow | undefined }[];
  volumesWithoutRow: FoundObject<VolumeMarker>[];
  /** Volumes whose row says that they were never available, and whose run may have ended otherwise: the database is older. */
  finished: { volume: FoundObject<VolumeMarker>; row: VolumeRow }[];
}

/** Streams the backend's objects against the rows, a batch at a time, and deals with what concerns one object alone. */
export async function scanObjects(run: ReconcileRun): Promise<Scan> {
  const scan: Scan = { own: 0, imageVolumes: new Map(), orphans: [], volumesWithoutRow: [], finished: [] };
  let batch: BackendObject[] = [];
  for await (const object of run.backend.list()) {
    batch.push(object);
    if (batch.length < BATCH_OBJECTS) continue;
    await look(run, scan, batch);
    batch = [];
  }
  await look(run, scan, batch);
  return scan;
}

/** Rows are read after their objects were seen: a row is there before its object is. */
async function look(run: ReconcileRun, scan: Scan, batch: BackendObject[]): Promise<void> {
  run.collector.looked(batch.length);
  run.collector.at(`looking at objects, ${scan.own} of this installation so far`);
  const rows = await readRows(run, batch);
  for (const object of batch) {
    if (object.kind === 'foreign') reportForeign(run, object);
    else if (object.partial) await lookAtPartial(run, object, rows);
    else if (object.marker?.kind === 'volume') await lookAtVolume({ run, scan, rows }, object, object.marker);
    else if (object.marker?.kind === 'image-volume') lookAtImageVolume({ scan, rows }, object, object.marker);
  }
}

async function readRows({ deps, backend }: ReconcileRun, batch: BackendObject[]): Promise<ObjectRows> {
  const namesOf = (kind: 'volume' | 'image-volume'): string[] => [
    ...new Set(
      batch
        .filter((object) => (object.partial?.kind ?? object.kind) === kind)
        .map(({ name, partial }) => partial?.name ?? name),
    ),
  ];
  const volumeIds = namesOf('volume').filter((name): name is VolumeId => uuidPattern.test(name));
  const imageVolumes = namesOf('image-volume');
  return {
    volumes: await readVolumes(deps.database, volumeIds),
    entries: await readEntriesOf(deps.database, { backend: backend.name, imageVolumes }),
  };
}

function reportForeign(run: ReconcileRun, { name, realBytes, marker }: BackendObject): void {
  const whose = marker === undefined ? 'it has no marker of ours' : `it is of installation ${marker.installation}`;
  report(run, { kind: 'foreign', object: name, found: `${name}: ${whose}`, bytes: realBytes });
}

async function lookAtPartial(run: ReconcileRun, object: BackendObject, rows: ObjectRows): Promise<void> {
  const judged = judgePartial(object, rows);
  if (judged === 'foreign') reportForeign(run, object);
  if (judged === 'leftover') await settlePartial(run, object);
}

interface Look {
  run: ReconcileRun;
  scan: Scan;
  rows: ObjectRows;
}

async function lookAtVolume({ run, scan, rows }: Look, object: BackendObject, marker: VolumeMarker): Promise<void> {
  scan.own += 1;
  const row = rows.volumes.get(object.name as VolumeId);
  const judged = judgeVolume(row, run.backend.name);
  if (judged === 'without-row') scan.volumesWithoutRow.push({ ...object, marker });
  if (judged === 'elsewhere') reportElsewhere(run, object, row);
  if (judged === 'ended' && row)
    await settleVolumeOfEndedRow(run, object, { row, endedAt: row.deletedAt ?? row.updatedAt });
  if (judged !== 'unfinished' || !row) return;
  const { ending, closedAt } = await findEndingOfCreate(run.deps, row);
  if (ending === 'completed' || ending === 'unknown') scan.finished.push({ volume: { ...object, marker }, row });
  // One that is still creating was dealt with as a row.
  if (ending === 'failed' && row.state === 'error')
    await settleVolumeOfEndedRow(run, object, { row, endedAt: closedAt ?? row.updatedAt });
}

function reportElsewhere(run: ReconcileRun, { name, realBytes }: BackendObject, row: VolumeRow | undefined): void {
  const found = `volume ${name}: its row is of backend ${row?.backend}`;
  report(run, { kind: 'volume-without-row', object: name, found, bytes: realBytes });
}

function lookAtImageVolume({ scan, rows }: Omit<Look, 'run'>, object: BackendObject, marker: ImageVolumeMarker): void {
  scan.own += 1;
  const found = { ...object, marker };
  scan.imageVolumes.set(object.name, found);
  const row = rows.entries.get(object.name);
  if (judgeImageVolume(row) === 'orphan') scan.orphans.push({ object: found, row });
}
