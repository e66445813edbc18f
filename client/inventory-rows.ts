import type { CacheSums } from '../db/queries/cache-entries';
import type { DecisionSummary as SummaryRow } from '../db/queries/decisions';
import type { BackendRow, DecisionRow, EntryImageRow, EntryRow, VolumeRow } from '../db/types';
import type { BackendStatus, CacheEntry, Decision, DecisionSummary, Volume } from './records';

/* Rows as records: a column may be renamed, a field of the records may not. */

export function toVolume(row: VolumeRow): Volume {
  return {
    volumeId: row.id,
    name: row.name,
    projectId: row.projectId,
    state: row.state,
    backend: row.backend,
    imageId: row.imageId,
    sizeBytes: row.sizeBytes,
    outcome: row.outcome,
    entryId: row.entryId,
    connection: row.connection,
    attachedTo: row.attachedTo,
    bootable: row.bootable,
    metadata: row.metadata,
    imageMetadata: row.imageMetadata,
    error: row.errorMessage === null ? null : { type: row.errorType ?? 'Internal', message: row.errorMessage },
    workflowId: row.workflowId,
    createdAt: row.createdAt.toISOString(),
    availableAt: isoOrNull(row.availableAt),
    deletedAt: isoOrNull(row.deletedAt),
  };
}

/** @param images of this entry and of others. */
export function toCacheEntry(row: EntryRow, images: EntryImageRow[]): CacheEntry {
  const { containerFormat, diskFormat, hashAlgorithm, hashValue, keyImageId, shortKey } = row;
  return {
    entryId: row.id,
    backend: row.backend,
    cacheKey: {
      containerFormat,
      diskFormat,
      hashAlgorithm,
      hashValue,
      ...(keyImageId && { imageId: keyImageId }),
      short: shortKey,
    },
    generation: row.generation,
    state: row.state,
    reason: row.reason,
    imageVolume: row.imageVolume,
    virtualBytes: row.virtualBytes,
    realBytes: row.realBytes,
    costSeconds: row.costSeconds,
    uses: row.uses,
    clones: row.clones,
    pinned: row.pinned,
    createdAt: row.createdAt.toISOString(),
    readyAt: isoOrNull(row.readyAt),
    lastUsedAt: isoOrNull(row.lastUsedAt),
    images: images
      .filter(({ entryId }) => entryId === row.id)
      .map(({ imageId, projectId, state, lastSeenAt }) => ({
        imageId,
        projectId,
        state,
        lastSeenAt: lastSeenAt.toISOString(),
      })),
  };
}

export function toDecision(row: DecisionRow): Decision {
  const {
    volumeId,
    projectId,
    backend,
    imageId,
    entryId,
    outcome,
    reason,
    errorType,
    bytesDownloaded,
    timingsMs,
    workflowId,
  } = row;
  return {
    at: row.at.toISOString(),
    volumeId,
    projectId,
    backend,
    imageId,
    entryId,
    outcome,
    reason,
    errorType,
    bytesDownloaded,
    timingsMs,
    workflowId,
  };
}

export function toDecisionSummary(summary: SummaryRow): DecisionSummary {
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
    decisions,
  };
}

function isoOrNull(at: Date | null): string | null {
  return at?.toISOString() ?? null;
}
