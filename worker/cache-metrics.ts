import { Runtime } from '@temporalio/worker';
import type { CacheMetrics } from '../activities/metrics';
import { evictionClasses } from '../workflows/contract/eviction';
import type { BackendName } from '../workflows/contract/ids';
import { findingKinds } from '../workflows/contract/reconcile';
import { outcomes, type BypassReason } from '../workflows/contract/volume';

/** Seconds: a clone's worth of time up to a transfer of hours. */
const STAGE_BUCKETS_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600];

/** Seconds: a hit's worth of time up to a create that spends its budget; 1 s and 5 s are what objectives name. */
const CREATE_BUCKETS_SECONDS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 21_600];

/** Seconds: a read's worth of time up to an answer that a client has given up. */
const REQUEST_BUCKETS_SECONDS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** For the runtime's options: a histogram's buckets are chosen before it is made. */
export const histogramBuckets: Record<string, number[]> = {
  ivc_population_stage_seconds: STAGE_BUCKETS_SECONDS,
  ivc_create_seconds: CREATE_BUCKETS_SECONDS,
  ivc_api_request_seconds: REQUEST_BUCKETS_SECONDS,
};

const bypassReasons: readonly BypassReason[] = ['cache-off', 'too-large-for-cache', 'requested', 'no-room'];
const endings = [...outcomes, 'failed', 'cancelled'] as const;
const verdicts = ['ready', 'bypass', 'failed'] as const;
const refreshResults = [
  'usable',
  'deactivated',
  'gone',
  'unanswered',
  'unbelieved',
  'current',
  'flipped',
  'no-match',
  'failed',
] as const;
/** Findings that the reconciler leaves to people. */
const leftToPeople = ['reported', 'failed'] as const;

/**
 * The product's own counters. Every series that an alert or a rate needs begins at 0: the first increase of one that
 * appears with it is lost.
 * @param backends those of the configuration.
 */
export function createCacheMetrics(backends: readonly BackendName[]): CacheMetrics {
  const meters = createMeters();
  const addSavedSeconds = inWholeSeconds((seconds, backend) => meters.savedSeconds.add(seconds, { backend }));
  const metrics: CacheMetrics = {
    createEnded: ({ backend, outcome, bypassReason }, took) => {
      meters.creates.add(1, { backend, outcome, reason: bypassReason ?? '' });
      if (took === undefined) return;
      meters.createSeconds.record(took.seconds, { backend, outcome });
      if (took.saved === undefined) return;
      meters.savedBytes.add(took.saved.bytes, { backend });
      addSavedSeconds(took.saved.seconds, backend);
    },
    populationStage: ({ backend, stage }, seconds) => meters.stages.record(seconds, { backend, stage }),
    populated: (labels) => meters.populations.add(1, labels),
    downloaded: (bytes) => meters.downloadedBytes.add(bytes),
    evicted: ({ backend, reason }, bytes) => {
      meters.evictions.add(1, { backend, class: reason });
      meters.evictedBytes.add(bytes, { backend, class: reason });
    },
    swept: (labels) => meters.sweeps.add(1, labels),
    quarantined: (labels) => meters.quarantines.add(1, labels),
    refreshed: (labels) => meters.refreshes.add(1, labels),
    found: ({ backend, finding, action }) => meters.findings.add(1, { backend, kind: finding, action }),
  };
  beginAtZero(meters, backends);
  return metrics;
}

type Meters = ReturnType<typeof createMeters>;

function createMeters() {
  const { metricMeter } = Runtime.instance();
  const counter = (name: string, description: string) => metricMeter.createCounter(name, '', description);
  return {
    creates: counter('ivc_creates', 'Creates that have ended, by outcome and, where the cache was bypassed, by reason'),
    createSeconds: metricMeter.createHistogram('ivc_create_seconds', 'float', '', 'How long creates took, by outcome'),
    savedBytes: counter('ivc_saved_bytes', 'Bytes that clones of cached images did not download'),
    savedSeconds: counter('ivc_saved_seconds', 'Seconds of population that clones of cached images saved'),
    stages: metricMeter.createHistogram(
      'ivc_population_stage_seconds',
      'float',
      '',
      'Stages of populations and bypasses',
    ),
    populations: counter('ivc_populations', 'Ended populations, by verdict'),
    downloadedBytes: counter('ivc_downloaded_bytes', 'Bytes that came from the image service'),
    evictions: counter('ivc_evictions', 'Deleted entries, by class'),
    evictedBytes: counter('ivc_evicted_bytes', 'Bytes that evictions freed, by class'),
    sweeps: counter('ivc_eviction_sweeps', 'Sweeps of evictors'),
    quarantines: counter('ivc_quarantines', 'Image-volumes that were proven unusable'),
    refreshes: counter('ivc_refreshes', 'Images and follows that were checked, by result'),
    findings: counter('ivc_findings', 'Findings of the reconciler, by kind and action'),
  };
}

function beginAtZero(meters: Meters, backends: readonly BackendName[]): void {
  for (const backend of backends) {
    for (const outcome of endings) {
      const reasons = outcome === 'bypassed' ? bypassReasons : [''];
      for (const reason of reasons) meters.creates.add(0, { backend, outcome, reason });
    }
    for (const verdict of verdicts) meters.populations.add(0, { backend, verdict });
    for (const evictionClass of evictionClasses) {
      meters.evictions.add(0, { backend, class: evictionClass });
      meters.evictedBytes.add(0, { backend, class: evictionClass });
    }
    for (const kind of findingKinds)
      for (const action of leftToPeople) meters.findings.add(0, { backend, kind, action });
    meters.savedBytes.add(0, { backend });
    meters.savedSeconds.add(0, { backend });
    meters.quarantines.add(0, { backend });
    meters.sweeps.add(0, { backend });
  }
  for (const result of refreshResults) meters.refreshes.add(0, { result });
  meters.downloadedBytes.add(0);
}

/** Core's counters count whole numbers: the fraction waits for the next. */
function inWholeSeconds(add: (seconds: number, backend: string) => void): (seconds: number, backend: string) => void {
  const fractions = new Map<string, number>();
  return (seconds, backend) => {
    const total = (fractions.get(backend) ?? 0) + seconds;
    fractions.set(backend, total - Math.floor(total));
    add(Math.floor(total), backend);
  };
}

/** Counters of our own, shown by the SDK's Prometheus endpoint beside its own. Install the runtime first. */
interface ProcessMetrics {
  /** SQL statements sent to the inventory. */
  countStatement: () => void;
  /** Foreign tools started, by name. */
  countProcess: (tool: string) => void;
}

export function createProcessMetrics(): ProcessMetrics {
  const { metricMeter } = Runtime.instance();
  const statements = metricMeter.createCounter('ivc_sql_statements', '1', 'SQL statements sent to the inventory');
  const processes = metricMeter.createCounter('ivc_processes_started', '1', 'Foreign tools started');
  return {
    countStatement: () => statements.add(1),
    countProcess: (tool) => processes.add(1, { tool }),
  };
}
