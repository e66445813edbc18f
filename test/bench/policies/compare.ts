import { simulate, type SimulatedRun } from './simulate';
import { makeTraces, type Trace } from './traces';

export interface PolicyComparison {
  trace: string;
  about: string;
  lru: SimulatedRun;
  gdsf: SimulatedRun;
  offline: SimulatedRun;
  /** Cost of misses beside that of LRU: below 1 is cheaper. */
  beside: { gdsf: number; offline: number };
}

/** Plays every trace with every policy. Pure and seeded: the same numbers everywhere. */
export function comparePolicies(seed: number): {
  traces: PolicyComparison[];
  total: { gdsf: number; offline: number };
} {
  const traces = makeTraces(seed).map(compareOn);
  const sum = (policy: 'lru' | 'gdsf' | 'offline') =>
    traces.reduce((total, each) => total + each[policy].missSeconds, 0);
  return { traces, total: { gdsf: sum('gdsf') / sum('lru'), offline: sum('offline') / sum('lru') } };
}

function compareOn(trace: Trace): PolicyComparison {
  const [lru, gdsf, offline] = [simulate(trace, 'lru'), simulate(trace, 'gdsf'), simulate(trace, 'offline')];
  const beside = { gdsf: gdsf.missSeconds / lru.missSeconds, offline: offline.missSeconds / lru.missSeconds };
  return { trace: trace.name, about: trace.about, lru, gdsf, offline, beside };
}
