import type { BackendCapabilities } from '../activities/backends/backend';
import type { CacheKey } from '../workflows/contract/image';
import { stayReasonOf, type StayReason } from '../workflows/contract/eviction';
import type { CacheSums } from '../db/entries/entries';
import type { DecisionTotals } from '../db/report/decisions';
import type {
  BackendLimits,
  BackendStatus,
  CacheEntry,
  Decision,
  DecisionSummary,
  EntryEvent,
  Follow,
  Refusal,
  Volume,
} from './records';
import {
  type BackendRow,
  type DecisionRow,
  type EntryEventRow,
  type EntryImageRow,
  type EntryRow,
  type FollowRow,
  type PopulationRow,
  type VolumeRow,
} from '../db/schema';

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

export function toFollow(row: FollowRow): Follow {
  const { id: _id, currentSince, checkedAt, createdAt, ...same } = row;
  return {
    ...same,
    currentSince: isoOrNull(currentSince),
    checkedAt: isoOrNull(checkedAt),
    createdAt: createdAt.toISOString(),
  };
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
  const { containerFormat, diskFormat, hashAlgorithm, hashValue, keyImageId, shortKey } = row;
  return {
    containerFormat,
    diskFormat,
    hashAlgorithm,
    hashValue,
    ...(keyImageId && { imageId: keyImageId }),
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

export function toDecision({ id: _id, shortKey: _shortKey, runId: _runId, at, ...decision }: DecisionRow): Decision {
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
