import type { Release } from '../../../db/entries/clones';
import { createHash, randomUUID } from 'node:crypto';
import { chooseForReservation } from '../../../activities/eviction/choose-evictions';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from '../../../workflows/contract/ids';
import type { CacheKey } from '../../../workflows/contract/image';
import type { Database } from '../../../db/client';
import { registerBackend } from '../../../db/backends';
import type { FlightJoin } from '../../../db/join-flight';
import { registerReady, insertPopulatingEntry, type ReservationRequest } from '../../../db/entries/reservations';
import { markForReservation, type VictimChoice } from '../../../db/evictions/victims';
import { completeVolumes, insertVolume, type CompleteOutcome, type Completion } from '../../../db/creates';
import { acquireEntry } from '../../../db/acquire';
import type { CacheLimits } from '../../../db/backends';
import type { EntryRow, VolumeRow } from '../../../db/schema';

export const BACKEND = 'local' as BackendName;
export const PROJECT = 'demo' as ProjectId;
export const IMAGE = 'a9c3f1de-0000-4000-8000-000000000001' as ImageId;

export const LIMITS: CacheLimits = {
  enabled: true,
  maxBytes: 10 * GiB,
  maxCount: 5,
  freeLowWater: 0.1,
  freeHighWater: 0.2,
  idleAgeMs: null,
  keepSuperseded: 0,
  policy: 'lru',
  cloneLimit: null,
};

export const CONNECTION = { driver: 'file', path: '/volumes/v.raw', format: 'raw' } as const;
/** The source of changes that a test makes. */
export const SOURCE = { workflowId: 'by hand', runId: 'run 1' };
export const DECISION = { reason: 'a ready entry was found', bytesDownloaded: 0, timingsMs: { acquire: 3 } };

export function cacheKey(content: string, more: Partial<CacheKey> = {}): CacheKey {
  const hashValue = createHash('sha512').update(content).digest('hex');
  return {
    containerFormat: 'bare',
    diskFormat: 'qcow2',
    hashAlgorithm: 'sha512',
    hashValue,
    short: createHash('sha256').update(hashValue).digest('hex').slice(0, 32),
    ...more,
  };
}

export function newVolumeId(): VolumeId {
  return randomUUID() as VolumeId;
}

export async function registerLocal(
  database: Database,
  { limits = {}, clonesPinParent = true }: { limits?: Partial<CacheLimits>; clonesPinParent?: boolean } = {},
): Promise<void> {
  await registerBackend(database, {
    name: BACKEND,
    driver: 'file',
    capabilities: { clone: 'instant', clonesPinParent, cloneMethod: 'qcow2 overlay' },
    limits: { ...LIMITS, ...limits },
  });
}

export function admittance(
  key: CacheKey,
  more: Partial<Parameters<typeof insertVolume>[1]> = {},
): Parameters<typeof insertVolume>[1] {
  const volumeId = more.volumeId ?? newVolumeId();
  return {
    volumeId,
    projectId: PROJECT,
    name: 'root disk',
    backend: BACKEND,
    imageId: IMAGE,
    shortKey: key.short,
    request: { imageId: IMAGE, backend: BACKEND, projectId: PROJECT },
    sizeBytes: GiB,
    imageMetadata: { os_distro: 'debian' },
    metadata: {},
    workflowId: `volume/${volumeId}`,
    runId: `run-of-${volumeId}`,
    ...more,
  };
}

/** Admits a fresh volume of this key. */
export async function admitted(
  database: Database,
  key: CacheKey,
  more: Parameters<typeof admittance>[1] = {},
): Promise<VolumeRow> {
  const outcome = await insertVolume(database, admittance(key, more));
  if (outcome.kind !== 'admitted') throw new Error(`the volume is ${outcome.kind}`);
  return outcome.volume;
}

export function reservation(key: CacheKey, more: Partial<ReservationRequest> = {}): ReservationRequest {
  return {
    backend: BACKEND,
    key,
    bytes: GiB,
    flight: 1,
    workflowId: `populate/${BACKEND}/${key.short}`,
    policyVersion: 'p1',
    ...more,
  };
}

/** Takes victims for a reservation as `makeRoom` does. */
export function markVictims(
  database: Database,
  { backend, bytes, workflowId }: Pick<ReservationRequest, 'backend' | 'bytes' | 'workflowId'>,
): Promise<VictimChoice> {
  return markForReservation(database, { backend, bytes, workflowId, choose: chooseForReservation(bytes) });
}

export async function reserved(
  database: Database,
  key: CacheKey,
  more: Partial<ReservationRequest> = {},
): Promise<EntryRow> {
  const outcome = await insertPopulatingEntry(database, reservation(key, more));
  if (outcome.kind !== 'reserved') throw new Error(`the reservation is ${outcome.kind}`);
  return outcome.entry;
}

/** Reserves and registers an entry of this key. */
export async function readyEntry(
  database: Database,
  key: CacheKey,
  { bytes = GiB }: { bytes?: number } = {},
): Promise<EntryRow> {
  const { id } = await reserved(database, key, { bytes });
  return register(database, id, bytes);
}

export async function register(database: Database, entryId: EntryId, realBytes = GiB): Promise<EntryRow> {
  const outcome = await registerReady(database, {
    entryId,
    virtualBytes: 512 * MiB,
    realBytes,
    costSeconds: 4.5,
    imageId: IMAGE,
    projectId: PROJECT,
  });
  if (outcome.kind !== 'ready')
    throw new Error(`the entry is ${outcome.kind === 'no-room' ? 'too large' : outcome.state}`);
  return outcome.entry;
}

export function acquirement(volume: VolumeRow, key: CacheKey): Parameters<typeof acquireEntry>[1] {
  return { volumeId: volume.id, runId: volume.runId, backend: BACKEND, key };
}

export function joining(volume: VolumeRow, key: CacheKey, more: Partial<FlightJoin> = {}): FlightJoin {
  const { id, workflowId, runId } = volume;
  const activity = { volumeIds: [id], workflowId, runId, activityId: '7' };
  return { ...activity, backend: BACKEND, key, imageId: IMAGE, policyVersion: 'p1', ...more };
}

/** Admits a fresh volume and gives it a lease on the key's entry. */
export async function leased(
  database: Database,
  key: CacheKey,
  more: Parameters<typeof admittance>[1] = {},
): Promise<{ volume: VolumeRow; entryId: EntryId }> {
  const volume = await admitted(database, key, more);
  const outcome = await acquireEntry(database, acquirement(volume, key));
  if (outcome.kind !== 'leased') throw new Error(`the acquire is ${outcome.kind}`);
  return { volume, entryId: outcome.entry.id };
}

interface OneCompletion extends Completion {
  runId: string;
  clonesPinParent?: boolean;
}

/** As the one volume of its run is completed. */
export async function completeVolume(
  database: Database,
  { runId, clonesPinParent, ...one }: OneCompletion,
): Promise<CompleteOutcome & Release> {
  const { outcomes, freed } = await completeVolumes(database, { runId, clonesPinParent, completions: [one] });
  const outcome = outcomes.get(one.volumeId) ?? { kind: 'not-creating', state: 'absent' };
  return { ...outcome, ...(freed[0] && { freedEntry: freed[0] }) };
}

export function completion(volume: VolumeRow): OneCompletion {
  return {
    volumeId: volume.id,
    runId: volume.runId,
    sizeBytes: GiB,
    connection: CONNECTION,
    outcome: 'hit',
    decision: DECISION,
  };
}

/** A finished volume, cloned from the key's entry. */
export async function available(
  database: Database,
  key: CacheKey,
  more: Parameters<typeof admittance>[1] = {},
): Promise<{ volume: VolumeRow; entryId: EntryId }> {
  const { volume, entryId } = await leased(database, key, more);
  const outcome = await completeVolume(database, completion(volume));
  if (outcome.kind !== 'completed') throw new Error(`the volume is ${outcome.state}`);
  return { volume: outcome.volume, entryId };
}
