import type { BackendName } from '../workflows/contract/ids';
import type { Verdict } from '../workflows/contract/population';
import type { FindingKind } from '../workflows/contract/reconcile';
import type { BypassReason, Outcome } from '../workflows/contract/volume';

/**
 * The product's own counters, beside those of Temporal's SDK. An activity that is retried after its effect may count
 * twice.
 */
export interface CacheMetrics {
  /**
   * A create has its end. `took.seconds`: from its start, where it was admitted. `took.saved`: spared by a clone.
   */
  createEnded(
    labels: {
      backend: BackendName | 'unknown';
      outcome: Outcome | 'failed' | 'cancelled';
      bypassReason?: BypassReason;
    },
    took?: { seconds: number; saved?: { bytes: number; seconds: number } },
  ): void;
  /** One stage of a population, or of a bypass, is done. */
  populationStage(
    labels: { backend: BackendName; stage: 'download' | 'convert' | 'stream' | 'clone' },
    seconds: number,
  ): void;
  /** A flight has its verdict. */
  populated(labels: { backend: BackendName; verdict: Verdict['kind'] }): void;
  /** Bytes that came from the image service. */
  downloaded(bytes: number): void;
  /** An entry is gone. `reason`: its class. */
  evicted(labels: { backend: BackendName; reason: string }, bytes: number): void;
  /** An evictor has checked its limits, whatever came of it. */
  swept(labels: { backend: BackendName }): void;
  /** An image-volume is proven unusable. */
  quarantined(labels: { backend: BackendName }): void;
  /** An image or a follow was checked. */
  refreshed(labels: { result: string }): void;
  /** The reconciler has found something. */
  found(labels: { backend: BackendName; finding: FindingKind; action: string }): void;
}
