import type { VolumeId } from '../../workflows/contract/ids';
import type { Admission, Story } from '../../workflows/contract/population';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import type { HostDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { contentHashOf } from '../kit/cache-key';
import { createHeartbeatReporter, keepingAlive, waitingForTurn } from '../kit/heartbeat-reporter';
import { releaseScratchOf } from '../kit/scratch-files';
import { complete, findCompleted, resultOf, sizeOf, markerOf } from '../kit/volume';
import { checkFreeSpace } from './check-free-space';
import { getScratchPath } from './scratch-image';
import { inspectImageFile, writeGuestBytes } from './write-guest-bytes';
import { attemptName } from './write-image-volume';

export interface WriteVolumeRequest {
  volumeId: VolumeId;
  admission: Admission;
  story: Story;
  /** Who uses the scratch file; released when the volume is available. */
  user: string;
}

/**
 * Bypass: writes the downloaded image straight into the user's volume and completes it. Idempotent. Undo: `removeVolume`.
 * @throws ImageRefused, ImageUnsupported, InvalidRequest, NoSpace (final); ToolFailed, BackendUnavailable (retried).
 */
export function createWriteVolume(deps: HostDependencies) {
  return async function writeVolume({
    volumeId,
    admission,
    story,
    user,
  }: WriteVolumeRequest): Promise<CreateVolumeResult> {
    const startedAtMs = performance.now();
    const backend = backendHeld(deps, admission.backend);
    const { imageId, cacheKey } = admission;
    const first = { stage: 'inspecting', summary: `inspecting image ${imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const done = await findCompleted(deps, volumeId);
      // An earlier try, or the run before a reset, may have made it and given its scratch file back before its answer was lost.
      if (done !== undefined) {
        await releaseScratchOf(deps, { contentHash: contentHashOf(cacheKey), user });
        return resultOf(done, story);
      }
      const path = await getScratchPath(deps, { source: admission, user }, reporter);
      const image = { imageId, cacheKey, path };
      const virtualBytes = await inspectImageFile(deps, image);
      const marker = markerOf(deps, { volumeId, admission }, sizeOf(admission, virtualBytes));
      const connection = await deps.conversions.run(
        async () => {
          await checkFreeSpace(deps, admission.backend, admission.imageBytes);
          const target = await backend.ensureWriteTarget({
            kind: 'volume',
            name: volumeId,
            attempt: attemptName(),
            virtualBytes,
          });
          try {
            await writeGuestBytes(image, { backend, target, virtualBytes }, { deps, reporter });
            return await backend.publishVolume(target, marker);
          } catch (error) {
            await backend.ensureAttemptAbsent({ kind: 'volume', name: volumeId, attempt: target.attempt });
            throw error;
          }
        },
        {
          onWait: (ahead) => reporter.report(waitingForTurn(ahead, 'conversion')),
          signal: reporter.signal,
        },
      );
      story.timingsMs.convert = Math.round(performance.now() - startedAtMs);
      deps.metrics.populationStage({ backend: admission.backend, stage: 'convert' }, story.timingsMs.convert / 1000);
      const { result } = await complete(deps, {
        volumeId,
        story,
        sizeBytes: marker.sizeBytes,
        connection,
        backend,
        stepStartedAtMs: startedAtMs,
      });
      await releaseScratchOf(deps, { contentHash: contentHashOf(cacheKey), user });
      return result;
    });
  };
}
