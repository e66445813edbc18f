import { findAttachmentIds } from '../../db/attachments';
import {
  insertTaken,
  markGivenBack,
  noteImports,
  readImports,
  type TakenSnapshot,
  type TakenVolume,
} from '../../db/imports';
import type { AttachmentRow } from '../../db/schema';
import { readSnapshots } from '../../db/snapshots';
import { readVolumes } from '../../db/volumes';
import type { AttachmentStatus } from '../../workflows/contract/attachment';
import type {
  CinderAttachment,
  CinderSnapshot,
  CinderVolume,
  ImportedDetail,
  ImportFinding,
} from '../../workflows/contract/cinder-import';
import { isFailure } from '../../workflows/contract/failures';
import { uuidPattern, type BackendName, type ProjectId } from '../../workflows/contract/ids';
import type { Connection, HeldStatus } from '../../workflows/contract/volume';
import { NO_TYPE } from '../../workflows/contract/volume-type';
import type { SnapshotMarker, VolumeBackend, VolumeMarker } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { nameHolder } from '../kit/name-holder';
import { workflowExecution } from '../kit/runs';
import { parseImport, type ImportOrder } from './import-request';
import { planVolume } from './plan-volume';

/**
 * Takes volumes of Cinder's over where they lie, with their snapshots and attachments: markers on the backend, then rows. On the backend's queue. Heartbeats.
 * Idempotent: volumes taken over before are `present`. Undo: `giveBackVolumes`.
 * @throws InvalidRequest, BackendNotFound, ForeignObject (final); BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createImportVolumes(deps: BackendDependencies, name: BackendName) {
  return async function importVolumes(input: unknown): Promise<ImportFinding[]> {
    const order = parseImport(deps, input);
    const backend = backendHeld(deps, name);
    const first = { stage: 'cloning', summary: `looking at ${order.volumes.length} volumes of Cinder` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const known = await readKnown(deps, order.volumes);
      const findings: ImportFinding[] = [];
      for (const volume of order.volumes) {
        reporter.signal.throwIfAborted();
        reporter.report({ ...first, summary: `taking volume ${volume.volumeId} over` });
        findings.push(...(await importVolume({ deps, backend, order, known }, volume)));
      }
      return findings;
    });
  };
}

/** The inventory's records under the ids of a part of Cinder's volumes. */
type Known = Awaited<ReturnType<typeof readKnown>>;

async function readKnown({ database }: BackendDependencies, volumes: readonly CinderVolume[]) {
  const ids = volumes.map(({ volumeId }) => volumeId).filter(isUuid);
  const snapshotIds = volumes.flatMap(({ snapshots }) => snapshots.map(({ snapshotId }) => snapshotId));
  const attachmentIds = volumes.flatMap(({ attachments }) => attachments.map(({ attachmentId }) => attachmentId));
  return {
    rows: await readVolumes(database, ids),
    notes: await readImports(database, { kind: 'volume', objects: ids }),
    snapshotRows: await readSnapshots(database, snapshotIds.filter(isUuid)),
    attachmentIds: await findAttachmentIds(database, attachmentIds.filter(isUuid)),
  };
}

interface Importing {
  deps: BackendDependencies;
  backend: VolumeBackend;
  order: ImportOrder;
  known: Known;
}

async function importVolume(importing: Importing, volume: CinderVolume): Promise<ImportFinding[]> {
  const { deps, backend, order, known } = importing;
  const { volumeId } = volume;
  const found = isUuid(volumeId) ? await backend.describeForeign?.(volumeId) : undefined;
  const plan = planVolume({
    volume,
    found: found ?? { kind: 'absent', name: volumeId },
    installation: deps.installation,
    row: known.rows.get(volumeId),
    note: known.notes.get(volumeId),
    snapshotRows: known.snapshotRows,
    attachmentIds: known.attachmentIds,
    types: order.typesOf,
  });
  if (plan.kind === 'refused') return findingsOf(volume, 'refused', plan.reason);
  // Another try of this run finds what one before has taken.
  const isOwn = known.notes.get(volumeId)?.runId === workflowExecution().runId;
  if (plan.kind === 'present') return findingsOf(volume, isOwn ? 'taken' : 'present', null);
  if (order.dryRun) return findingsOf(volume, 'would-take', null);
  const refusal = await take(importing, volume);
  if (refusal === undefined) return findingsOf(volume, 'taken', null);
  const { snapshots } = volume;
  const { runId } = workflowExecution();
  const snapshotIds = snapshots.map(({ snapshotId }) => snapshotId);
  await markGivenBack(deps.database, { kind: 'volume', objects: [volumeId], runId });
  await markGivenBack(deps.database, { kind: 'snapshot', objects: snapshotIds, runId });
  return findingsOf(volume, 'refused', refusal);
}

const isUuid = (id: string): boolean => uuidPattern.test(id);

/** @returns why it could not be done; nothing of it is there then. */
async function take({ deps, backend, order }: Importing, volume: CinderVolume): Promise<string | undefined> {
  const { database, installation } = deps;
  const { volumeId, projectId: project, name, sizeBytes, snapshots } = volume;
  const projectId = project as ProjectId;
  const noted = { backend: backend.name, source: order.source } as const;
  const { runId } = workflowExecution();
  const objects = [
    { ...noted, kind: 'volume' as const, object: volumeId },
    ...snapshots.map(({ snapshotId }) => ({
      ...noted,
      kind: 'snapshot' as const,
      object: snapshotId,
      detail: { volumeId },
    })),
  ];
  await noteImports(database, { objects, runId });
  const marker: VolumeMarker = { kind: 'volume', installation, volumeId, projectId, name, sizeBytes };
  const markers = snapshots.map((snapshot): SnapshotMarker => ({
    kind: 'snapshot',
    installation,
    snapshotId: snapshot.snapshotId,
    volumeId,
    projectId,
    name: snapshot.name,
    sizeBytes: snapshot.sizeBytes,
  }));
  const taken = await takeBytes(backend, { marker, snapshots: markers });
  if ('refusal' in taken) return taken.refusal;
  const { connection, modifiedAt } = taken;
  const detail: ImportedDetail = {
    name,
    projectId,
    bytes: sizeBytes,
    modifiedAt: modifiedAt.toISOString(),
    ...(volume.cachedImageId !== null && { cachedImageId: volume.cachedImageId }),
  };
  const { by, requestId } = order;
  const source = { by, requestId, ...workflowExecution() };
  const held = volume.attachments.map((attachment) => attachmentRow(volume, attachment));
  const isMade = await insertTaken(database, {
    volume: volumeRow({ deps, order, volume, connection, held }),
    taken: snapshots.map((snapshot) => snapshotRow({ deps, volume, backend: backend.name, snapshot })),
    held,
    detail,
    source,
  });
  return isMade ? undefined : 'a volume of this id was made here meanwhile';
}

async function takeBytes(
  backend: VolumeBackend,
  taken: { marker: VolumeMarker; snapshots: SnapshotMarker[] },
): Promise<{ connection: Connection; modifiedAt: Date } | { refusal: string }> {
  if (backend.ensureTakenOver === undefined) return { refusal: `backend ${backend.name} takes nothing over` };
  try {
    return await backend.ensureTakenOver(taken);
  } catch (error) {
    // It has changed since it was looked at.
    if (isFailure(error, 'VolumeNotFound') || isFailure(error, 'Conflict') || isFailure(error, 'ForeignObject'))
      return { refusal: error.message };
    throw error;
  }
}

interface NewRow {
  deps: BackendDependencies;
  order: ImportOrder;
  volume: CinderVolume;
  connection: Connection;
  held: readonly AttachmentRow[];
}

function volumeRow({ deps, order, volume, connection, held }: NewRow): TakenVolume {
  const { volumeId, name, sizeBytes, metadata, description, userId, volumeTypeId, createdAt } = volume;
  const projectId = volume.projectId as ProjectId;
  const type = volumeTypeId === null ? undefined : order.typesOf[volumeTypeId];
  const isTyped = type !== undefined && type.name !== NO_TYPE;
  const [holder] = held;
  return {
    id: volumeId,
    projectId,
    name,
    description,
    backend: order.backend,
    volumeType: isTyped ? type.name : null,
    volumeTypeId: isTyped ? volumeTypeId : null,
    request: { backend: order.backend, projectId, name, sizeBytes, importedFrom: order.source },
    sizeBytes,
    workflowId: deps.queues.ids.createVolume(volumeId),
    runId: workflowExecution().runId,
    requestedBy: userId,
    attachedTo: holder === undefined ? null : nameHolder(holder),
    status: volume.status === 'available' ? null : (volume.status as HeldStatus),
    readOnly: volume.readOnly,
    multiattach: volume.multiattach,
    connection,
    bootable: volume.bootable,
    imageMetadata: volume.imageMetadata,
    metadata,
    createdAt: new Date(createdAt),
  };
}

function snapshotRow({
  deps,
  volume,
  backend,
  snapshot,
}: {
  deps: BackendDependencies;
  volume: CinderVolume;
  backend: BackendName;
  snapshot: CinderSnapshot;
}): TakenSnapshot {
  const { snapshotId, name, description, metadata, sizeBytes, createdAt } = snapshot;
  return {
    id: snapshotId,
    projectId: volume.projectId as ProjectId,
    volumeId: volume.volumeId,
    backend,
    name,
    description,
    metadata,
    sizeBytes,
    workflowId: deps.queues.ids.createSnapshot(snapshotId),
    runId: workflowExecution().runId,
    createdAt: new Date(createdAt),
  };
}

function attachmentRow({ volumeId, projectId }: CinderVolume, attachment: CinderAttachment): AttachmentRow {
  const { attachmentId, instanceId, hostName, mountpoint, mode, status, connector, createdAt, attachedAt } = attachment;
  return {
    id: attachmentId,
    volumeId,
    projectId: projectId as ProjectId,
    instanceId,
    hostName,
    mountpoint,
    mode,
    status: status as AttachmentStatus,
    connector,
    createdAt: new Date(createdAt),
    attachedAt: attachedAt === null ? null : new Date(attachedAt),
  };
}

/** Of a volume and of its snapshots, which go with it. */
function findingsOf(volume: CinderVolume, action: ImportFinding['action'], reason: string | null): ImportFinding[] {
  const { volumeId, name, projectId, sizeBytes, snapshots } = volume;
  const ofVolume = { kind: 'volume', object: volumeId, name, projectId, bytes: sizeBytes, action, reason } as const;
  const withVolume = reason === null ? null : `its volume ${volumeId} is not taken over`;
  return [
    ofVolume,
    ...snapshots.map(({ snapshotId, name: ofSnapshot, sizeBytes: bytes }) => ({
      kind: 'snapshot' as const,
      object: snapshotId,
      name: ofSnapshot,
      projectId,
      bytes,
      action,
      reason: withVolume,
    })),
  ];
}
