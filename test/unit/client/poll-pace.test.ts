import { PollPace } from '../../../client/poll-pace';

/** Polls for a result that takes `durationMs` until it is there. */
function pollFor(pace: PollPace, durationMs: number): { polls: number; lateMs: number } {
  let passedMs: number | undefined;
  for (let polls = 1; ; polls += 1) {
    passedMs = (passedMs ?? 0) + pace.pauseMs(passedMs);
    if (passedMs < durationMs) continue;
    pace.found(passedMs, polls);
    return { polls, lateMs: passedMs - durationMs };
  }
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

describe('the pace of polls', () => {
  const around = (durationMs: number): number[] =>
    Array.from({ length: 200 }, (_, round) => durationMs * (0.75 + ((round * 7) % 11) / 20));

  it.each([5, 40, 150, 900])('needs few polls for what takes about %s ms, and is not late by much', (durationMs) => {
    const pace = new PollPace();
    const found = around(durationMs).map((each) => pollFor(pace, each));
    expect(mean(found.slice(100).map(({ polls }) => polls))).toBeLessThan(6);
    expect(mean(found.slice(100).map(({ lateMs }) => lateMs))).toBeLessThan(Math.max(0.15 * durationMs, 5));
  });

  it('is soon again where one took long, and where all have become faster', () => {
    const pace = new PollPace();
    for (const durationMs of around(40)) pollFor(pace, durationMs);
    pollFor(pace, 20_000);
    expect(mean(around(40).map((durationMs) => pollFor(pace, durationMs).lateMs))).toBeLessThan(10);
    expect(mean(around(8).map((durationMs) => pollFor(pace, durationMs).lateMs))).toBeLessThan(5);
  });
});
