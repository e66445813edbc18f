import { randomUUID } from 'node:crypto';
import { GiB } from '../../../workflows/contract/bytes';
import type { BackendName, EntryId } from '../../../workflows/contract/ids';
import { type BackendRow, type EntryRow } from '../../../db/schema';

const BEGINNING = new Date(0);

/** A ready entry that nobody has used. */
export function entryRow(more: Partial<EntryRow> = {}): EntryRow {
  const id = more.id ?? (randomUUID() as EntryId);
  return {
    id,
    backend: 'local' as BackendName,
    shortKey: id.replaceAll('-', ''),
    containerFormat: 'bare',
    diskFormat: 'qcow2',
    hashAlgorithm: 'sha512',
    hashValue: id,
    keyImageId: null,
    keySignature: null,
    generation: 1,
    state: 'ready',
    reason: null,
    reasonDetail: null,
    imageVolume: `image-volume-${id}`,
    flight: 1,
    reservedFor: null,
    virtualBytes: GiB,
    realBytes: GiB,
    counted: true,
    costSeconds: 10,
    uses: 0,
    imageBytes: null,
    reclaimableBytes: null,
    useScore: 0,
    usesScored: 0,
    scoredAt: null,
    lastUsedAt: BEGINNING,
    priorityBase: 0,
    priority: 0,
    pinned: false,
    pinnedBy: null,
    policyVersion: null,
    verdict: null,
    digestAlgorithm: null,
    digest: null,
    digestSeenAt: null,
    supersededAt: null,
    supersededBy: null,
    clones: 0,
    createdAt: BEGINNING,
    readyAt: BEGINNING,
    retiredAt: null,
    goneAt: null,
    ...more,
  };
}

/** A backend whose space is not known. */
export function backendRow(more: Partial<BackendRow> = {}): BackendRow {
  return {
    name: 'local' as BackendName,
    driver: 'file',
    capabilities: {},
    placeId: null,
    cacheEnabled: true,
    maxBytes: 100 * GiB,
    maxCount: 50,
    freeLowWater: 0.1,
    freeHighWater: 0.2,
    idleAgeMs: null,
    keepSuperseded: 0,
    policy: 'gdsf',
    cloneLimit: null,
    operatorLimits: [],
    limitsSetBy: null,
    limitsSetAt: null,
    totalBytes: null,
    freeBytes: null,
    spaceSeenAt: null,
    evictionClock: 0,
    registeredAt: BEGINNING,
    ...more,
  };
}
