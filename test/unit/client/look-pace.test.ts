import { LookPace } from '../../../client/look-pace';

/** Looks at what takes `durationMs` until it is there. */
function lookFor(pace: LookPace, durationMs: number): { looks: number; lateMs: number } {
  let passedMs: number | undefined;
  for (let looks = 1; ; looks += 1) {
    passedMs = (passedMs ?? 0) + pace.pauseMs(passedMs);
    if (passedMs < durationMs) continue;
    pace.found(passedMs, looks);
    return { looks, lateMs: passedMs - durationMs };
  }
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

describe('the pace of looks', () => {
  const around = (durationMs: number): number[] =>
    Array.from({ length: 200 }, (_, round) => durationMs * (0.75 + ((round * 7) % 11) / 20));

  it.each([5, 40, 150, 900])('needs few looks for what takes about %s ms, and is not late by much', (durationMs) => {
    const pace = new LookPace();
    const found = around(durationMs).map((each) => lookFor(pace, each));
    expect(mean(found.slice(100).map(({ looks }) => looks))).toBeLessThan(6);
    expect(mean(found.slice(100).map(({ lateMs }) => lateMs))).toBeLessThan(Math.max(0.15 * durationMs, 5));
  });

  it('is soon again where one took long, and where all have become faster', () => {
    const pace = new LookPace();
    for (const durationMs of around(40)) lookFor(pace, durationMs);
    lookFor(pace, 20_000);
    expect(mean(around(40).map((durationMs) => lookFor(pace, durationMs).lateMs))).toBeLessThan(10);
    expect(mean(around(8).map((durationMs) => lookFor(pace, durationMs).lateMs))).toBeLessThan(5);
  });
});
