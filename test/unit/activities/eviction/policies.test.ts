import { comparePolicies } from '../../../bench/policies/compare';

const SEEDS = [1, 20_260_117];
/** Cost of misses beside that of LRU. */
const MOST_IN_TOTAL = 0.9;
const MOST_ON_A_TRACE = 1.02;

test.each(SEEDS)(
  'the policy is at least a tenth cheaper than LRU over all traces, and nowhere dearer by more than a fiftieth (seed %i)',
  (seed) => {
    const { traces, total } = comparePolicies(seed);
    expect(total.gdsf).toBeLessThanOrEqual(MOST_IN_TOTAL);
    const dearer = traces.map(({ trace, beside }) => ({ trace, cost: beside.gdsf }));
    expect(dearer.filter(({ cost }) => cost > MOST_ON_A_TRACE)).toEqual([]);
    // The policy that knows the future is cheaper still, everywhere.
    expect(traces.filter(({ beside }) => beside.offline > beside.gdsf)).toEqual([]);
  },
  120_000,
);
