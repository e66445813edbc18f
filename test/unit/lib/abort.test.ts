import { getEventListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { pause, unlessAborted, withDeadline } from '../../../lib/abort';

const never = new Promise<never>(() => undefined);

describe('waiting', () => {
  it('ends with the reason of the abort', async () => {
    const controller = new AbortController();
    const waits = [pause(60_000, controller.signal), unlessAborted(never, controller.signal)];
    controller.abort(new Error('stopped'));
    for (const outcome of await Promise.allSettled(waits))
      expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'stopped' } });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  it('lasts for longer than a timer can', async () => {
    const controller = new AbortController();
    let isOver = false;
    const paused = pause(2 ** 32, controller.signal).finally(() => (isOver = true));
    await delay(20);
    expect(isOver).toBe(false);
    controller.abort(new Error('stopped'));
    await expect(paused).rejects.toThrow('stopped');
  });

  it('ends at its deadline, or with the caller', async () => {
    const late = new Error('too late');
    const untilAborted = (signal: AbortSignal): Promise<void> => pause(60_000, signal);
    await expect(withDeadline({ ms: 1, late }, untilAborted)).rejects.toBe(late);
    const reason = new Error('the caller left');
    await expect(withDeadline({ ms: 60_000, late, signal: AbortSignal.abort(reason) }, untilAborted)).rejects.toBe(
      reason,
    );
    expect(await withDeadline({ ms: 60_000, late }, async () => 'in time')).toBe('in time');
  });
});
