import { activityInfo } from '@temporalio/activity';
import { findEntry } from '../../db/entries/entries';
import { Failure } from '../../workflows/contract/failures';
import type { ReservedEntry } from '../../workflows/contract/population';
import type { VolumeBackend, WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { reservationGivenUp } from '../kit/reserve-inspected';
import type { ScratchSource } from './scratch-image';

/**
 * Earlier attempts whose names are tried: each one takes over what the last has left, or removes it, so that one is
 * nearly always enough.
 */
const MAX_EARLIER_ATTEMPTS = 20;

/**
 * A name of its own for each attempt of each run, so that a late writer can never reach what was published; by default
 * the running one's.
 */
export function attemptName(attempt = activityInfo().attempt): string {
  const { workflowExecution, activityId } = activityInfo();
  return `${workflowExecution?.runId.slice(0, 8) ?? 'none'}-${activityId}-${attempt}`;
}

/** @returns the names of the running activity's earlier attempts, the last one first. */
export function earlierAttemptNames(): string[] {
  const { attempt: current } = activityInfo();
  const count = Math.min(current - 1, MAX_EARLIER_ATTEMPTS);
  return Array.from({ length: count }, (_none, back) => attemptName(current - 1 - back));
}

/** Removes leftovers of the running activity's earlier attempts: none of these goes on with them. */
export async function removeEarlierAttempts(
  backend: VolumeBackend,
  { imageVolume: name }: ReservedEntry,
): Promise<void> {
  for (const attempt of earlierAttemptNames())
    await backend.ensureAttemptAbsent({ kind: 'image-volume', name, attempt });
}

/** @throws NoSpace (final) when the backend cannot hold `neededBytes` more, before anything is written. */
export async function checkFreeSpace(backend: VolumeBackend, neededBytes: number): Promise<void> {
  const { freeBytes } = await backend.space();
  if (neededBytes > freeBytes) throw new Failure('NoSpace', { backend: backend.name, neededBytes, freeBytes });
}

interface Measured {
  virtualBytes: number;
  realBytes: number;
}

/** @returns what an earlier attempt has sealed: its answer was lost, or it ended when this one began. */
export async function findSealed(backend: VolumeBackend, entry: ReservedEntry): Promise<Measured | undefined> {
  const found = await backend.describeParent(entry.imageVolume);
  if (found.kind !== 'sealed') return undefined;
  return { virtualBytes: found.virtualBytes, realBytes: found.realBytes };
}

interface SealRequest {
  source: ScratchSource;
  entry: ReservedEntry;
  target: WriteTarget;
  virtualBytes: number;
}

/**
 * Publishes an image-volume. A reservation that was given up while this attempt wrote gets none.
 * @throws ImageChanged then (final).
 */
export async function seal(
  { database, installation }: HostDependencies,
  backend: VolumeBackend,
  { source: { cacheKey, imageId }, entry, target, virtualBytes }: SealRequest,
): Promise<Measured> {
  const { imageVolume: name, generation } = entry;
  const marker = { kind: 'image-volume', installation, name, cacheKey, generation, virtualBytes } as const;
  const sealed = await backend.sealImageVolume(target, marker);
  const row = await findEntry(database, { entryId: entry.id });
  if (row?.state === 'populating' || row?.state === 'ready') return sealed;
  await backend.ensureImageVolumeAbsent(name);
  throw reservationGivenUp(imageId, row?.state ?? 'absent');
}
