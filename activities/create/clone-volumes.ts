import { acquireEntries, type LeaseOutcome } from '../../db/acquire';
import { releaseLeases, type Completion } from '../../db/creates';
import { Failure, publicMessage } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type {
  BulkAdmission,
  BulkCloneOutcome,
  LeasedEntry,
  NamedVolume,
  Story,
} from '../../workflows/contract/population';
import type { FailedVolume } from '../../workflows/contract/volume';
import type { VolumeBackend, VolumeMarker } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { workflowExecution } from '../kit/runs';
import { completeAll, findCompletedOf, goOnAfterReset, markerOf, noteTotal, takeSize } from '../kit/created-volume';
import type { ProgressReporter } from '../progress';
import { createSemaphore } from '../../lib/semaphore';
import { settleAll } from '../../lib/settle-all';
import { madeVolumeOf } from './admit-volumes';
import { giveUpParent, isParentTrouble } from '../kit/give-up-parent';
import { rollOverInBackground } from './roll-over';

/** Volumes that one statement completes, and that one heartbeat stands for. */
const CHUNK = 50;
/** Clones that are being made at once: with more a backend gets no faster. */
const CLONES_AT_ONCE = 16;

export interface CloneVolumesRequest {
  volumes: NamedVolume[];
  admission: Omit<BulkAdmission, 'volumes' | 'available'>;
  story: Story;
}

/**
 * Leases parents for all volumes at once, clones in chunks and completes each chunk in one statement. With `onFailure`
 * `undo` nothing is completed before all are cloned. A volume that fails for good stops no other; a failure
 * that may pass is thrown when the good ones are done. Idempotent: volumes that are available already are reported
 * again. Heartbeats. Undo: `removeVolumes`, `failVolumes`.
 * @throws CacheKeyCollision (final); BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createCloneVolumes(deps: BackendDependencies, name: BackendName) {
  return async function cloneVolumes(request: CloneVolumesRequest): Promise<BulkCloneOutcome> {
    const backend = backendHeld(deps, name);
    const total = request.volumes.length;
    const first = { stage: 'cloning', summary: describeDone(0, total) } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const run = new BulkClone(deps, backend, { request, reporter, startedAtMs: performance.now() });
      return await run.run();
    });
  };
}

function describeDone(done: number, total: number, perSecond?: number): string {
  return `${done} of ${total} volumes cloned${perSecond === undefined ? '' : `, ${perSecond}/s`}`;
}

interface Cloned {
  volume: NamedVolume;
  completion: Completion;
}

/** One try at many volumes. */
class BulkClone {
  private readonly outcome: BulkCloneOutcome = {
    made: [],
    failed: [],
    left: [],
    atCloneLimit: false,
    cold: 0,
    freedEntries: [],
  };
  private readonly allOrNone: boolean;
  private lostParent = false;
  private cloned = 0;
  private passing: unknown;
  /** Of the chunk before, while the next one is cloned: the backend does not wait for the database. */
  private completing: Promise<void> = Promise.resolve();

  constructor(
    private readonly deps: BackendDependencies,
    private readonly backend: VolumeBackend,
    private readonly step: { request: CloneVolumesRequest; reporter: ProgressReporter; startedAtMs: number },
  ) {
    this.allOrNone = step.request.admission.onFailure === 'undo';
  }

  async run(): Promise<BulkCloneOutcome> {
    const { outcome } = this;
    const pending: Cloned[] = [];
    try {
      await this.cloneAll(pending);
    } finally {
      await this.completing;
    }
    outcome.cold = outcome.left.length;
    if (outcome.left.length === 0 && !this.hasFailed()) await this.complete(pending);
    // They are found again when the others have their parent.
    else outcome.left.push(...pending.map(({ volume }) => volume));
    return outcome;
  }

  /** @param pending gets what is completed only when all are cloned. */
  private async cloneAll(pending: Cloned[]): Promise<void> {
    for (const { entry, volumes } of await this.acquire()) {
      this.lostParent = false;
      for (let at = 0; at < volumes.length; at += CHUNK) {
        const cloned = await this.cloneChunk(entry, volumes.slice(at, at + CHUNK));
        if (this.allOrNone) pending.push(...cloned);
        else await this.completeMeanwhile(cloned);
        if (this.passing !== undefined) throw this.passing;
        // A parent that takes no more clones takes none of the next chunk.
        if (this.lostParent) {
          this.outcome.left.push(...(await this.releaseRest(volumes.slice(at + CHUNK))));
          break;
        }
      }
    }
  }

  /** @returns the volumes by the parent that each has a lease on; the others are in the outcome. */
  private async acquire(): Promise<{ entry: LeasedEntry; volumes: NamedVolume[] }[]> {
    const { deps, outcome } = this;
    const { volumes, admission } = this.step.request;
    const byEntry = new Map<string, { entry: LeasedEntry; volumes: NamedVolume[] }>();
    const ended: NamedVolume[] = [];
    const acquired = await this.acquireAll();
    for (const volume of volumes) {
      const lease = acquired.get(volume.volumeId);
      if (lease?.kind === 'leased') {
        const group = byEntry.get(lease.entry.id) ?? { entry: lease.entry, volumes: [] };
        group.volumes.push(volume);
        byEntry.set(lease.entry.id, group);
        if (lease.nearCloneLimit && group.volumes.length === 1) rollOverInBackground(deps, admission);
      } else if (lease?.kind === 'cold') {
        outcome.left.push(volume);
        outcome.atCloneLimit ||= lease.atCloneLimit;
      } else if (lease?.kind === 'collision')
        throw new Failure('CacheKeyCollision', { shortKey: admission.cacheKey.short });
      else ended.push(volume);
    }
    await this.tellEnded(ended);
    this.step.request.story.timingsMs.acquire = Math.round(performance.now() - this.step.startedAtMs);
    return [...byEntry.values()];
  }

  private async acquireAll(): Promise<Map<VolumeId, LeaseOutcome>> {
    const { deps } = this;
    const { volumes, admission } = this.step.request;
    const { runId } = workflowExecution();
    const { backend, cacheKey: key } = admission;
    const { cloneLimit } = this.backend.capabilities;
    const volumeIds = volumes.map(({ volumeId }) => volumeId);
    const acquire = () => acquireEntries(deps.database, { volumeIds, runId, backend, key, cloneLimit });
    const acquired = await acquire();
    const ended = volumeIds.filter((volumeId) => acquired.get(volumeId)?.kind === 'not-creating');
    return ended.length > 0 && (await goOnAfterReset(deps, ended)) ? await acquire() : acquired;
  }

  /** A try whose answer was lost has completed them, or somebody has deleted them meanwhile. */
  private async tellEnded(ended: NamedVolume[]): Promise<void> {
    for (let at = 0; at < ended.length; at += CHUNK) {
      const chunk = ended.slice(at, at + CHUNK).map(({ volumeId }) => volumeId);
      const completed = await findCompletedOf(this.deps, chunk);
      for (const volumeId of chunk) {
        const row = completed.get(volumeId);
        if (row === undefined) this.outcome.failed.push(cancelled(volumeId));
        else this.outcome.made.push(madeVolumeOf(row));
        this.cloned += row === undefined ? 0 : 1;
      }
    }
  }

  private async cloneChunk(entry: LeasedEntry, volumes: NamedVolume[]): Promise<Cloned[]> {
    const cloned: Cloned[] = [];
    const unparented: NamedVolume[] = [];
    let trouble: Failure | undefined;
    const { signal } = this.step.reporter;
    const work = async (volume: NamedVolume): Promise<void> => {
      // The rest of the chunk would fail in the same way.
      if (trouble !== undefined) return void unparented.push(volume);
      try {
        cloned.push(await this.clone(entry, volume));
        this.report();
      } catch (error) {
        if (isParentTrouble(error)) {
          trouble = error;
          unparented.push(volume);
        } else if (error instanceof Failure && error.isFinal) this.outcome.failed.push(failed(volume.volumeId, error));
        else this.passing ??= error;
      }
    };
    const lanes = createSemaphore(CLONES_AT_ONCE);
    await settleAll(volumes.map((volume) => lanes.run(() => work(volume), { onWait: () => undefined, signal })));
    if (trouble !== undefined) await this.giveUp(entry, unparented, trouble);
    return cloned;
  }

  private async clone({ imageVolume, virtualBytes }: LeasedEntry, volume: NamedVolume): Promise<Cloned> {
    const { admission } = this.step.request;
    const named = { volumeId: volume.volumeId, admission: { ...admission, name: volume.name } };
    const marker: VolumeMarker = markerOf(this.deps, named, virtualBytes);
    await takeSize(this.deps, named, virtualBytes);
    const connection = await this.backend.ensureClone(imageVolume, marker);
    return { volume, completion: this.completionOf(marker, connection) };
  }

  private completionOf({ volumeId, sizeBytes }: VolumeMarker, connection: Completion['connection']): Completion {
    const { story } = this.step.request;
    const joins = story.outcome === 'miss' && volumeId !== story.leader;
    return {
      volumeId,
      sizeBytes,
      connection,
      outcome: joins ? 'joined' : story.outcome,
      decision: {
        reason: joins ? 'another volume of the same request was populating the cache already' : story.reason,
        bytesDownloaded: joins ? 0 : story.bytesDownloaded,
        timingsMs: story.timingsMs,
      },
    };
  }

  private async completeMeanwhile(cloned: Cloned[]): Promise<void> {
    await this.completing;
    this.completing = this.complete(cloned);
    // It is awaited with the next chunk, or at the end.
    this.completing.catch(() => undefined);
  }

  private async complete(cloned: Cloned[]): Promise<void> {
    if (cloned.length === 0) return;
    const { deps, backend, outcome } = this;
    const { story } = this.step.request;
    noteTotal(story, this.step.startedAtMs);
    const completions = cloned.map(({ completion }) => completion);
    const { made, freed } = await completeAll(deps, { completions, backend, ofSeveral: true });
    outcome.freedEntries.push(...freed);
    for (const { volumeId } of completions) {
      const row = made.get(volumeId);
      if (row === undefined) outcome.failed.push(cancelled(volumeId));
      else outcome.made.push(madeVolumeOf(row));
    }
  }

  private async giveUp(entry: LeasedEntry, volumes: NamedVolume[], error: Failure): Promise<void> {
    const { admission } = this.step.request;
    const volumeIds = volumes.map(({ volumeId }) => volumeId);
    try {
      const freed = await giveUpParent(this.deps, this.backend, { volumeIds, entry, admission, error });
      this.outcome.freedEntries.push(...freed);
      this.outcome.left.push(...volumes);
      this.lostParent = true;
    } catch (cause) {
      if (!(cause instanceof Failure) || !cause.isFinal) throw cause;
      this.outcome.failed.push(...volumeIds.map((volumeId) => failed(volumeId, cause)));
    }
  }

  /** The leases of those whose parent was given up before their turn. */
  private async releaseRest(volumes: NamedVolume[]): Promise<NamedVolume[]> {
    if (volumes.length === 0) return [];
    const { runId } = workflowExecution();
    const volumeIds = volumes.map(({ volumeId }) => volumeId);
    this.outcome.freedEntries.push(...(await releaseLeases(this.deps.database, { volumeIds, runId })));
    return volumes;
  }

  /** A volume that somebody has deleted meanwhile has not failed. */
  private hasFailed(): boolean {
    return this.outcome.failed.some(({ failure }) => failure.type !== 'CreateCancelled');
  }

  private report(): void {
    this.cloned += 1;
    const { request, reporter, startedAtMs } = this.step;
    const perSecond = Math.round(this.cloned / ((performance.now() - startedAtMs) / 1000));
    reporter.report({ stage: 'cloning', summary: describeDone(this.cloned, request.volumes.length, perSecond) });
  }
}

function failed(volumeId: VolumeId, { type, message, details }: Failure): FailedVolume {
  return { volumeId, failure: { type, message, details: { ...details } } };
}

/** Somebody has deleted it, or cancelled this run, meanwhile. */
function cancelled(volumeId: VolumeId): FailedVolume {
  const details = { volumeId };
  return {
    volumeId,
    failure: { type: 'CreateCancelled', message: publicMessage('CreateCancelled', details), details },
  };
}
