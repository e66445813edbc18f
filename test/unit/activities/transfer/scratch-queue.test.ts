import { createScratchQueue } from '../../../../activities/transfer/scratch-queue';

const MINUTE_MS = 60_000;

describe('the queue for a full scratch', () => {
  let nowMs = 0;
  beforeEach(() => {
    nowMs = 0;
  });
  const open = () => createScratchQueue({ overtakingMs: 10 * MINUTE_MS, now: () => nowMs });

  it('lets the first ask, and says how many are ahead of the others', () => {
    const queue = open();
    const first = queue.enter({ contentHash: 'a', neededBytes: 10 });
    const second = queue.enter({ contentHash: 'b', neededBytes: 10 });
    expect([first.mayTry(), second.mayTry(), second.ahead()]).toEqual([true, false, 1]);
    first.leave();
    expect([second.mayTry(), second.ahead()]).toEqual([true, 0]);
  });

  it('lets who fits overtake who does not, and counts what that one takes', () => {
    const queue = open();
    const large = queue.enter({ contentHash: 'large', neededBytes: 100 });
    const [small, other] = ['b', 'c'].map((contentHash) => queue.enter({ contentHash, neededBytes: 10 }));
    large.wasRefused(15);
    expect([small?.mayTry(), other?.mayTry()]).toEqual([true, true]);
    small?.wasGranted();
    small?.leave();
    expect(other?.mayTry()).toBe(false);
    expect(other?.ahead()).toBe(1);
  });

  it('keeps the order where the first fits too', () => {
    const queue = open();
    const first = queue.enter({ contentHash: 'a', neededBytes: 10 });
    const second = queue.enter({ contentHash: 'b', neededBytes: 10 });
    first.wasRefused(20);
    expect(second.mayTry()).toBe(false);
  });

  it('lets nobody overtake who has been the first for long, so that a large image gets its room', () => {
    const queue = open();
    const before = queue.enter({ contentHash: 'before', neededBytes: 10 });
    const large = queue.enter({ contentHash: 'large', neededBytes: 100 });
    const small = queue.enter({ contentHash: 'small', neededBytes: 10 });
    nowMs = 20 * MINUTE_MS;
    before.leave();
    large.wasRefused(50);
    expect(small.mayTry()).toBe(true);
    nowMs += 10 * MINUTE_MS;
    expect(small.mayTry()).toBe(false);
  });

  it('lets those ask whose content another one brings', () => {
    const queue = open();
    const first = queue.enter({ contentHash: 'a', neededBytes: 10 });
    const large = queue.enter({ contentHash: 'large', neededBytes: 100 });
    const same = queue.enter({ contentHash: 'a', neededBytes: 10 });
    first.wasGranted();
    first.leave();
    expect([large.mayTry(), same.mayTry()]).toEqual([true, true]);
  });
});
