import { Runtime } from '@temporalio/worker';

/** Counters of our own, served by the SDK's Prometheus endpoint beside its own. Install the runtime first. */
export interface Metrics {
  /** SQL statements sent to the inventory. */
  countStatement: () => void;
  /** Foreign tools started, by name. */
  countProcess: (tool: string) => void;
}

export function createMetrics(): Metrics {
  const { metricMeter } = Runtime.instance();
  const statements = metricMeter.createCounter('ivc_sql_statements', '1', 'SQL statements sent to the inventory');
  const processes = metricMeter.createCounter('ivc_processes_started', '1', 'Foreign tools started');
  return {
    countStatement: () => statements.add(1),
    countProcess: (tool) => processes.add(1, { tool }),
  };
}
