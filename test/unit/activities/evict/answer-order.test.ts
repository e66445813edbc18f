import type { ResolvedOrder } from '../../../../activities/evict/resolve-order';
import { findOwner } from '../../../../activities/evict/answer-order';
import type { Demand } from '../../../../activities/eviction/choose-evictions';
import { entryRow } from '../../../bench/policies/rows';
import { type EntryRow } from '../../../../db/schema';

function resolved(requestId: string, demand: Demand, entries: EntryRow[] = []): ResolvedOrder {
  const signal = demand.kind === 'sweep' ? 'sweep' : 'evict';
  return { order: { requestId, signal, dryRun: false }, demand, entries };
}

describe('what an earlier try has deleted', () => {
  const named = entryRow({ reason: 'requested' });
  const orders = [
    resolved('sweep', { kind: 'sweep' }),
    resolved('count', { kind: 'rank', count: 2, why: 'asked for' }),
    resolved('named', { kind: 'named', entryIds: [named.id], why: 'asked for' }, [named]),
  ];

  test('is counted for who names it, else for who asks for so many, else for the sweep', () => {
    const ownerOf = (entry: EntryRow) => findOwner(entry, orders)?.order.requestId;
    expect(ownerOf(named)).toBe('named');
    expect(ownerOf(entryRow({ reason: 'requested' }))).toBe('count');
    expect(ownerOf(entryRow({ reason: 'idle' }))).toBe('sweep');
    expect(findOwner(entryRow({ reason: 'idle' }), orders.slice(1))?.order.requestId).toBe('count');
    expect(findOwner(entryRow({ reason: 'idle' }), orders.slice(2))).toBeUndefined();
  });
});
