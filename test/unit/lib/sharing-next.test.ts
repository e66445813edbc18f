import { setImmediate as turn } from 'node:timers/promises';
import { sharingNext } from '../../../lib/sharing-next';

describe('work that is shared by those who come while it runs', () => {
  let ends: { key: string; resolve: (result: number) => void; reject: (error: Error) => void }[];
  let share: (key: string) => Promise<number>;
  beforeEach(() => {
    ends = [];
    share = sharingNext((key) => new Promise<number>((resolve, reject) => void ends.push({ key, resolve, reject })));
  });

  it('is the run that begins after they came, one for all of them', async () => {
    const first = share('a');
    const later = [share('a'), share('a')];
    expect(ends).toHaveLength(1);
    ends[0]?.resolve(1);
    expect(await first).toBe(1);
    await turn();
    const last = share('a');
    expect(ends).toHaveLength(2);
    ends[1]?.resolve(2);
    expect(await Promise.all(later)).toEqual([2, 2]);
    await turn();
    ends[2]?.resolve(3);
    expect(await last).toBe(3);
  });

  it('begins at once for another key, and again when nobody waits', async () => {
    const both = [share('a'), share('b')];
    expect(ends.map(({ key }) => key)).toEqual(['a', 'b']);
    for (const { resolve } of ends) resolve(1);
    expect(await Promise.all(both)).toEqual([1, 1]);
    void share('a');
    expect(ends).toHaveLength(3);
  });

  it('fails for those alone who shared the run that failed', async () => {
    const failing = share('a');
    const later = share('a');
    const reason = new Error('no');
    ends[0]?.reject(reason);
    await expect(failing).rejects.toBe(reason);
    await turn();
    ends[1]?.resolve(2);
    expect(await later).toBe(2);
  });
});
