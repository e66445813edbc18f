import { createPace } from '../../../../activities/refresh/image-states';

describe('createPace', () => {
  it('lets the first go at once and the others at the rate it is told, give or take a half', async () => {
    const nextTurn = createPace({ requestsPerSecond: 200, signal: new AbortController().signal });
    const startedAtMs = performance.now();
    for (let turn = 0; turn < 41; turn += 1) await nextTurn();
    // 40 intervals of 5 ms, each at least half as long.
    expect(performance.now() - startedAtMs).toBeGreaterThanOrEqual(100);
  });

  it('ends a wait with the reason of its signal', async () => {
    const controller = new AbortController();
    const nextTurn = createPace({ requestsPerSecond: 0.01, signal: controller.signal });
    await nextTurn();
    const waiting = nextTurn();
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
  });
});
