import { formatTable } from '../../../client/cli/output/table';
import { comparePolicies } from './compare';

const SEED = 1;

/** One line of the bench; without a trace, all of them together. */
export interface PolicyMeasure {
  measure: 'policies';
  trace: string;
  about: string;
  /** Seconds of all misses under LRU. */
  lruMissSeconds: number;
  /** Beside those: below 1 is cheaper. */
  cost: { ours: number; offline: number };
  byteHitRate: { lru: number; ours: number; offline: number };
}

/** Compares policies by the cost of misses; needs no server, and gives the same numbers everywhere. */
export function measurePolicies(): PolicyMeasure[] {
  const { traces, total } = comparePolicies(SEED);
  const lines = traces.map(({ trace, about, lru, gdsf, offline, beside }) => ({
    measure: 'policies' as const,
    trace,
    about,
    lruMissSeconds: Math.round(lru.missSeconds),
    cost: { ours: beside.gdsf, offline: beside.offline },
    byteHitRate: { lru: lru.byteHitRate, ours: gdsf.byteHitRate, offline: offline.byteHitRate },
  }));
  const mean = (rate: 'lru' | 'ours' | 'offline') =>
    lines.reduce((sum, { byteHitRate }) => sum + byteHitRate[rate], 0) / lines.length;
  return [
    ...lines,
    {
      measure: 'policies',
      trace: 'all',
      about: 'sum of the costs, mean of the rates',
      lruMissSeconds: lines.reduce((sum, { lruMissSeconds }) => sum + lruMissSeconds, 0),
      cost: { ours: total.gdsf, offline: total.offline },
      byteHitRate: { lru: mean('lru'), ours: mean('ours'), offline: mean('offline') },
    },
  ];
}

export function formatPolicies(lines: PolicyMeasure[]): string {
  const head = ['TRACE', 'LRU MISS S', 'OURS', 'OFFLINE', 'BYTE HITS LRU', 'OURS', 'OFFLINE', 'WHAT IT IS LIKE'];
  const rate = (value: number) => value.toFixed(3);
  return formatTable(
    head,
    lines.map(({ trace, about, lruMissSeconds, cost, byteHitRate }) => [
      trace,
      String(lruMissSeconds),
      rate(cost.ours),
      rate(cost.offline),
      rate(byteHitRate.lru),
      rate(byteHitRate.ours),
      rate(byteHitRate.offline),
      about,
    ]),
  ).join('\n');
}
