import { findingRules } from '../../../../activities/reconcile/findings';
import { findingKinds } from '../../../../workflows/contract/reconcile';

describe('the table of findings', () => {
  it('has every kind, each with what is found and what is done', () => {
    expect(Object.keys(findingRules).sort()).toEqual([...findingKinds].sort());
    for (const { found, done } of Object.values(findingRules)) expect([found, done]).not.toContain('');
  });

  it('deletes neither a volume without a row nor a foreign object', () => {
    expect(findingRules['volume-without-row']).toMatchObject({ does: 'reports' });
    expect(findingRules.foreign).toMatchObject({ does: 'reports' });
  });
});
