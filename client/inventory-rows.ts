import type { MessageRow } from '../db/messages';
import type { BackendCapabilities } from '../activities/backends/backend';
import type { CacheKey } from '../workflows/contract/image';
import { stayReasonOf, type StayReason } from '../workflows/contract/eviction';
import type { ProjectQuotasRow } from '../db/quotas';
import type { ProjectId, SnapshotId, VolumeId } from '../workflows/contract/ids';
import type { QuotaName } from '../workflows/contract/quotas';
import type { CacheSums } from '../db/entries/entries';
import type { ListedEvent } from '../db/events';
import type { DecisionTotals } from '../db/report/decisions';
import type {
  Attachment,
  AuditEvent,
  BackendLimits,
  BackendStatus,
  CacheEntry,
  Decision,
  DecisionSummary,
  EntryEvent,
  Follow,
  ImageVolume,
  ProjectQuota,
  ProjectQuotas,
  Refusal,
  Snapshot,
  Message,
  Transfer,
  Volume,
} from './records';
import {
  type BackendRow,
  type DecisionRow,
  type EntryEventRow,
  type AttachmentRow,
  type EntryImageRow,
  type EntryRow,
  type FollowRow,
  type PopulationRow,
  type SnapshotRow,
  type TransferRow,
  type VolumeRow,
} from '../db/schema';

/* Rows as records: a column may be renamed, a field of the records may not. */

/** @param more what of this volume stands in other tables. */
export function toVolume(
  row: VolumeRow,
  { attachments, isReimaging }: { attachments: AttachmentRow[]; isReimaging: boolean },
): Volume {
  return {
    volumeId: row.id,
    name: row.name,
    description: row.description,
    projectId: row.projectId,
    state: row.state,
    status: row.status,
    isReimaging,
    backend: row.backend,
    volumeType: row.volumeType,
    volumeTypeId: row.volumeTypeId,
    placement: row.placement,
    imageId: row.imageId,
    sizeBytes: row.sizeBytes,
    snapshotId: sourceOf(row, 'snapshotId') as SnapshotId | null,
    sourceVolumeId: sourceOf(row, 'sourceVolumeId') as VolumeId | null,
    outcome: row.outcome,
    entryId: row.entryId,
    connection: row.connection,
    attachedTo: row.attachedTo,
    attachments: attachments.map(toAttachment),
    readOnly: row.readOnly,
    multiattach: row.multiattach,
    bootable: row.bootable,
    metadata: row.metadata,
    imageMetadata: row.imageMetadata,
    error: row.errorMessage === null ? null : { type: row.errorType ?? 'Internal', message: row.errorMessage },
    requestedBy: row.requestedBy,
    workflowId: row.workflowId,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    availableAt: isoOrNull(row.availableAt),
    deletedAt: isoOrNull(row.deletedAt),
  };
}

/** @returns an id that the request of a volume names. */
function sourceOf({ request }: VolumeRow, field: 'snapshotId' | 'sourceVolumeId'): string | null {
  const value: unknown = Reflect.get(request, field);
  return typeof value === 'string' ? value : null;
}

export function toMessage({ at, volumeId: _volume, imageId: _image, ...row }: MessageRow): Message {
  return { ...row, at: at.toISOString() };
}

export function toTransfer({ id, volumeId, projectId, name, noSnapshots, createdAt }: TransferRow): Transfer {
  return { transferId: id, volumeId, projectId, name, noSnapshots, createdAt: createdAt.toISOString() };
}

export function toAttachment({ id: attachmentId, createdAt, attachedAt, ...row }: AttachmentRow): Attachment {
  return { attachmentId, ...row, createdAt: createdAt.toISOString(), attachedAt: isoOrNull(attachedAt) };
}

export function toSnapshot(row: SnapshotRow): Snapshot {
  const {
    id: snapshotId,
    volumeId,
    name,
    description,
    projectId,
    state,
    status,
    progress,
    backend,
    sizeBytes,
    metadata,
    sharedImageId,
    requestedBy,
    workflowId,
  } = row;
  return {
    snapshotId,
    volumeId,
    name,
    description,
    projectId,
    state,
    status,
    progress,
    backend,
    sizeBytes,
    metadata,
    error: row.errorMessage === null ? null : { type: row.errorType ?? 'Internal', message: row.errorMessage },
    sharedImageId,
    requestedBy,
    workflowId,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    availableAt: isoOrNull(row.availableAt),
    deletedAt: isoOrNull(row.deletedAt),
  };
}

export function toFollow(row: FollowRow): Follow {
  const { id: _id, currentSince, checkedAt, createdAt, ...same } = row;
  return {
    ...same,
    currentSince: isoOrNull(currentSince),
    checkedAt: isoOrNull(checkedAt),
    createdAt: createdAt.toISOString(),
  };
}

export function toProjectQuotas({ projectId, quotas, used }: ProjectQuotasRow): ProjectQuotas {
  const of = (quota: QuotaName, inUse: number | null): ProjectQuota => {
    const { setAt, ...row } = quotas[quota];
    return { ...row, used: inUse, setAt: isoOrNull(setAt) };
  };
  return {
    projectId,
    quotas: {
      volumes: of('volumes', used.volumes),
      snapshots: of('snapshots', used.snapshots),
      bytes: of('bytes', used.bytes),
      volumeBytes: of('volumeBytes', null),
    },
  };
}

/** @param projectId the internal tenant's. */
export function toImageVolume(entry: CacheEntry, projectId: ProjectId | null): ImageVolume {
  const { entryId, imageVolume: name, state, backend, images, virtualBytes: sizeBytes, createdAt } = entry;
  const imageIds = images.map(({ imageId }) => imageId);
  return { entryId, name, projectId, state, backend, imageIds, sizeBytes, createdAt };
}

/** @param row of a flight that refused its image. */
export function toRefusal(row: PopulationRow): Refusal {
  const { backend, imageId, policyVersion, answeredAt, verdict } = row;
  const failure = verdict?.kind === 'failed' ? verdict.failure : undefined;
  const rule = failure?.details['rule'];
  return {
    backend,
    cacheKey: toCacheKey(row),
    imageId,
    rule: typeof rule === 'string' ? rule : 'unknown',
    message: failure?.message ?? '',
    policyVersion,
    refusedAt: isoOrNull(answeredAt),
  };
}

function toCacheKey(row: EntryRow | PopulationRow): CacheKey {
  const { containerFormat, diskFormat, hashAlgorithm, hashValue, keyImageId, keySignature, shortKey } = row;
  return {
    containerFormat,
    diskFormat,
    hashAlgorithm,
    hashValue,
    ...(keyImageId && { imageId: keyImageId }),
    ...(keySignature && { signature: keySignature }),
    short: shortKey,
  };
}

/** Facts beside an entry's own row that protect it from eviction. */
export interface EntryFacts {
  leased: boolean;
  awaited: boolean;
}

/** @param images of this entry and of others. */
export function toCacheEntry(row: EntryRow, images: EntryImageRow[], facts: EntryFacts): CacheEntry {
  return {
    entryId: row.id,
    backend: row.backend,
    cacheKey: toCacheKey(row),
    generation: row.generation,
    state: row.state,
    reason: row.reason,
    imageVolume: row.imageVolume,
    virtualBytes: row.virtualBytes,
    realBytes: row.realBytes,
    costSeconds: row.costSeconds,
    uses: row.uses,
    clones: row.clones,
    reclaimableBytes: row.reclaimableBytes,
    pinned: row.pinned,
    pinnedBy: row.pinnedBy,
    whyItStays: whyItStays(row, facts),
    createdAt: row.createdAt.toISOString(),
    readyAt: isoOrNull(row.readyAt),
    lastUsedAt: isoOrNull(row.lastUsedAt),
    supersededAt: isoOrNull(row.supersededAt),
    retiredAt: isoOrNull(row.retiredAt),
    signature: row.verdict?.signature ?? null,
    images: images
      .filter(({ entryId }) => entryId === row.id)
      .map(({ entryId: _entryId, lastSeenAt, ...image }) => ({ ...image, lastSeenAt: lastSeenAt.toISOString() })),
  };
}

/** As far as the row alone tells; `ivc evict --dry-run` says whether it would be chosen. */
function whyItStays(row: EntryRow, facts: EntryFacts): StayReason | null {
  const isFree = row.state === 'gone' || (row.state === 'retired' && row.clones === 0);
  return isFree ? null : stayReasonOf({ ...row, ...facts });
}

export function toEntryEvent({ at, kind, reason, detail, bytes, workflowId }: EntryEventRow): EntryEvent {
  return { at: at.toISOString(), kind, reason, detail, bytes, workflowId };
}

export function toAuditEvent(event: ListedEvent): AuditEvent {
  const { id, at, kind, object, requestedBy: by, requestId, projectId, volumeId, imageId, entryId, backend } = event;
  const { detail, workflowId, runId } = event;
  const own = runId === '' ? workflowId : `${workflowId}/${runId}`;
  const about = { projectId, volumeId, imageId, entryId, backend, detail, workflowId };
  return { eventId: id, at: at.toISOString(), kind, object, by, requestId: requestId ?? own, ...about };
}

export function toDecision(row: DecisionRow): Decision {
  const { id: _id, shortKey: _shortKey, runId: _runId, requestedBy: _by, requestId: _request, at, ...decision } = row;
  return { at: at.toISOString(), ...decision };
}

export function toDecisionSummary(summary: DecisionTotals): DecisionSummary {
  const answered = summary.hit + summary.miss + summary.joined + summary.bypassed;
  return { ...summary, hitRate: answered === 0 ? null : summary.hit / answered };
}

export function toBackendStatus(
  row: BackendRow,
  { sums, decisions }: { sums: CacheSums; decisions: DecisionSummary },
): BackendStatus {
  const { totalBytes, freeBytes, spaceSeenAt } = row;
  return {
    backend: row.name,
    driver: row.driver,
    clones: toClones(row.capabilities),
    imageStore: toImageStore(row.capabilities),
    space: totalBytes === null || freeBytes === null ? null : { totalBytes, freeBytes, seenAt: isoOrNull(spaceSeenAt) },
    cache: {
      enabled: row.cacheEnabled,
      policy: row.policy,
      maxBytes: row.maxBytes,
      maxCount: row.maxCount,
      usedBytes: sums.bytes,
      count: sums.count,
      reservedBytes: sums.reservedBytes,
      pinnedBytes: sums.pinnedBytes,
    },
    limits: toLimits(row),
    decisions,
  };
}

function toClones(capabilities: object): BackendStatus['clones'] {
  const { cloneMethod, cloneMethodReason } = capabilities as Partial<BackendCapabilities>;
  return { method: cloneMethod ?? 'unknown', reason: cloneMethodReason ?? null };
}

function toImageStore(capabilities: object): BackendStatus['imageStore'] {
  const { imageStore } = capabilities as Partial<BackendCapabilities>;
  return imageStore === undefined ? null : { name: imageStore.name, reason: imageStore.reason ?? null };
}

function toLimits(row: BackendRow): BackendLimits {
  const { cacheEnabled: enabled, maxBytes, maxCount, policy, freeLowWater, freeHighWater } = row;
  const { idleAgeMs, keepSuperseded } = row;
  return {
    values: { enabled, maxBytes, maxCount, freeLowWater, freeHighWater, idleAgeMs, keepSuperseded, policy },
    setByOperator: row.operatorLimits,
    setBy: row.limitsSetBy,
    setAt: isoOrNull(row.limitsSetAt),
  };
}

function isoOrNull(at: Date | null): string | null {
  return at?.toISOString() ?? null;
}
