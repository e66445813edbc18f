import { stat } from 'node:fs/promises';
import { activityInfo } from '@temporalio/activity';
import { findEntry } from '../../db/entries/entries';
import type { NotCached, PopulateInput, ReservedEntry, WrittenImageVolume } from '../../workflows/contract/population';
import type { WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { contentHashOf } from '../kit/cache-key';
import { createHeartbeatReporter, keepingAlive, waitingForTurn } from '../kit/heartbeat-reporter';
import { reservationGivenUp, reserveInspectedOrMakeRoom } from '../kit/reserve-inspected';
import { releaseScratchOf } from '../kit/scratch-files';
import { checkFreeSpace } from './check-free-space';
import { getScratchPath, type ScratchSource } from './scratch-image';
import { inspectImageFile, writeGuestBytes } from './write-guest-bytes';

export interface WriteImageVolumeRequest {
  input: PopulateInput;
  entry: ReservedEntry;
  /** Who uses the scratch file; released when the image-volume is sealed. */
  user: string;
}

/**
 * Inspects the downloaded image, writes it into the new image-volume, inspects what was written and seals it. Every attempt writes to a name of its
 * own, so a late writer can never reach a sealed one. Idempotent: a sealed image-volume is described. Undo: `removeImageVolume`.
 * @throws ImageRefused, ImageUnsupported, NoSpace (final); ToolFailed, BackendUnavailable (retried).
 */
export function createWriteImageVolume(deps: HostDependencies) {
  return async function writeImageVolume({
    input,
    entry,
    user,
  }: WriteImageVolumeRequest): Promise<WrittenImageVolume | NotCached> {
    const startedAtMs = performance.now();
    const backend = backendHeld(deps, input.backend);
    const { imageId, cacheKey } = input;
    const first = { stage: 'inspecting', summary: `inspecting image ${imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const sealed = await backend.describeParent(entry.imageVolume);
      // An earlier try may have sealed it and given its scratch file back before its answer was lost.
      if (sealed.kind === 'sealed') {
        await releaseScratchOf(deps, { contentHash: contentHashOf(input.cacheKey), user });
        const { virtualBytes, realBytes } = sealed;
        return { virtualBytes, realBytes, convertMs: Math.round(performance.now() - startedAtMs) };
      }
      const path = await getScratchPath(deps, { source: input, user }, reporter);
      const image = { imageId, cacheKey, path };
      const virtualBytes = await inspectImageFile(deps, image);
      const reserved = await reserveInspectedOrMakeRoom(deps, { input, entry, virtualBytes }, (progress) =>
        reporter.report(progress),
      );
      if (reserved.kind === 'bypass') return reserved;
      const written = await deps.conversions.run(
        async () => {
          await checkFreeSpace(deps, input.backend, (await stat(image.path)).size);
          const target = await backend.ensureWriteTarget({
            kind: 'image-volume',
            name: entry.imageVolume,
            attempt: attemptName(),
            virtualBytes,
          });
          try {
            await writeGuestBytes(image, { backend, target, virtualBytes }, { deps, reporter });
            reporter.report({ stage: 'sealing', summary: `sealing image-volume ${entry.imageVolume}` });
            return await seal(deps, { input, entry, target, virtualBytes });
          } catch (error) {
            await backend.ensureAttemptAbsent({
              kind: 'image-volume',
              name: entry.imageVolume,
              attempt: target.attempt,
            });
            throw error;
          }
        },
        {
          onWait: (ahead) => reporter.report(waitingForTurn(ahead, 'conversion')),
          signal: reporter.signal,
        },
      );
      await releaseScratchOf(deps, { contentHash: contentHashOf(input.cacheKey), user });
      const convertMs = Math.round(performance.now() - startedAtMs);
      deps.metrics.populationStage({ backend: input.backend, stage: 'convert' }, convertMs / 1000);
      return { ...written, convertMs };
    });
  };
}

interface SealRequest extends Pick<WriteImageVolumeRequest, 'entry'> {
  input: ScratchSource;
  target: WriteTarget;
  virtualBytes: number;
}

/** A reservation that was given up while this attempt wrote gets no image-volume. */
export async function seal(
  deps: HostDependencies,
  { input, entry, target, virtualBytes }: SealRequest,
): Promise<{ virtualBytes: number; realBytes: number }> {
  const backend = backendHeld(deps, input.backend);
  const { installation } = deps;
  const { cacheKey } = input;
  const sealed = await backend.sealImageVolume(target, {
    kind: 'image-volume',
    installation,
    name: entry.imageVolume,
    cacheKey,
    generation: entry.generation,
    virtualBytes,
  });
  const row = await findEntry(deps.database, { entryId: entry.id });
  if (row?.state === 'populating' || row?.state === 'ready') return sealed;
  await backend.ensureImageVolumeAbsent(entry.imageVolume);
  throw reservationGivenUp(input.imageId, row?.state ?? 'absent');
}

/** Earlier attempts that are looked for: each one takes over what the last has left, or removes it, so that one is nearly always enough. */
const MAX_EARLIER_ATTEMPTS = 20;

/** @returns the names of the running activity's earlier attempts, the last one first. */
export function earlierAttemptNames(): string[] {
  const { attempt: current } = activityInfo();
  const count = Math.min(current - 1, MAX_EARLIER_ATTEMPTS);
  return Array.from({ length: count }, (_none, back) => attemptName(current - 1 - back));
}

/** A name of its own for each attempt of each run; by default the running one's. */
export function attemptName(attempt = activityInfo().attempt): string {
  const { workflowExecution, activityId } = activityInfo();
  return `${workflowExecution?.runId.slice(0, 8) ?? 'none'}-${activityId}-${attempt}`;
}
