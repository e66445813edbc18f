import { inParallel } from '../../../../workflows/lib/in-parallel';

describe('inParallel', () => {
  it('does the work of every item once, and never more than its limit at the same time', async () => {
    const done: number[] = [];
    let running = 0;
    let most = 0;
    const items = Array.from({ length: 50 }, (_, index) => index);
    await inParallel(items, 4, async (item) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      done.push(item);
    });
    expect(done.toSorted((a, b) => a - b)).toEqual(items);
    expect(most).toBe(4);
  });

  it('is done at once when there is nothing to do, and fails with the first failure', async () => {
    await inParallel([], 4, () => Promise.reject(new Error('never')));
    await expect(inParallel([1, 2], 1, (item) => Promise.reject(new Error(`of ${item}`)))).rejects.toThrow('of 1');
  });
});
