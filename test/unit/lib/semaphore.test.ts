import { createSemaphore } from '../../../lib/semaphore';

function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

const patient = () => ({ onWait: () => undefined, signal: new AbortController().signal });

describe('a semaphore', () => {
  it('runs as many at once as it has places, and the others in the order of their coming', async () => {
    const semaphore = createSemaphore(2);
    const gates = [gate(), gate(), gate(), gate()];
    const started: number[] = [];
    const ahead: number[] = [];
    const runs = gates.map(({ opened }, index) =>
      semaphore.run(
        async () => {
          started.push(index);
          await opened;
        },
        { ...patient(), onWait: (count) => ahead.push(count) },
      ),
    );
    await Promise.resolve();
    expect([started, ahead]).toEqual([
      [0, 1],
      [1, 2],
    ]);
    gates[1]?.open();
    await runs[1];
    await Promise.resolve();
    expect(started).toEqual([0, 1, 2]);
    for (const { open } of gates) open();
    await Promise.all(runs);
    expect(started).toEqual([0, 1, 2, 3]);
  });

  it('gives the place of a failed run to the next', async () => {
    const semaphore = createSemaphore(1);
    await expect(semaphore.run(() => Promise.reject(new Error('it failed')), patient())).rejects.toThrow('it failed');
    expect(await semaphore.run(() => Promise.resolve('done'), patient())).toBe('done');
  });

  it('lets go of who gives up waiting, and of its turn', async () => {
    const semaphore = createSemaphore(1);
    const first = gate();
    const running = semaphore.run(() => first.opened, patient());
    const impatience = new AbortController();
    const given = semaphore.run(() => Promise.resolve('never'), { ...patient(), signal: impatience.signal });
    const last = semaphore.run(() => Promise.resolve('last'), patient());
    impatience.abort(new Error('no patience'));
    await expect(given).rejects.toThrow('no patience');
    first.open();
    await running;
    expect(await last).toBe('last');
    expect(await semaphore.run(() => Promise.resolve('free'), patient())).toBe('free');
  });

  it('does not let in who has given up before', async () => {
    const semaphore = createSemaphore(1);
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(semaphore.run(() => Promise.resolve('never'), { ...patient(), signal })).rejects.toThrow('gone');
  });
});
