import { scoreOf, USE_HALF_LIFE_MS } from '../../../../activities/eviction/score';
import { GiB, MiB } from '../../../../workflows/contract/bytes';
import { backendRow, entryRow } from '../../../bench/policies/rows';

const NOW = new Date('2026-02-01T12:00:00Z');
const backend = backendRow({ maxBytes: 100 * GiB, maxCount: 1000, evictionClock: 7 });

test('a score is the clock and the seconds that each GiB spares for each use', () => {
  const entry = entryRow({ uses: 3, usesScored: 0, costSeconds: 20, realBytes: 4 * GiB });
  expect(scoreOf(entry, { backend, now: NOW })).toEqual({ useScore: 3, priorityBase: 7, priority: 7 + (3 * 20) / 4 });
  expect(scoreOf({ ...entry, reclaimableBytes: 2 * GiB }, { backend, now: NOW }).priority).toBe(7 + (3 * 20) / 2);
});

test('uses count half after the half-life, and without new ones the clock of the last use stays', () => {
  const scoredAt = new Date(NOW.getTime() - USE_HALF_LIFE_MS);
  const entry = entryRow({
    uses: 5,
    usesScored: 5,
    useScore: 4,
    scoredAt,
    priorityBase: 2,
    costSeconds: 1,
    realBytes: GiB,
  });
  expect(scoreOf(entry, { backend, now: NOW })).toEqual({ useScore: 2, priorityBase: 2, priority: 4 });
  expect(scoreOf({ ...entry, uses: 6 }, { backend, now: NOW })).toEqual({ useScore: 3, priorityBase: 7, priority: 10 });
});

test('where the count is the tighter limit, a small entry takes as much of it as a larger one', () => {
  const [small, large] = [entryRow({ uses: 1, realBytes: 10 * MiB }), entryRow({ uses: 1, realBytes: 2 * GiB })];
  const counted = { ...backend, maxCount: 50 };
  expect(scoreOf(small, { backend: counted, now: NOW })).toEqual(scoreOf(large, { backend: counted, now: NOW }));
  expect(scoreOf(small, { backend, now: NOW }).priority).toBeGreaterThan(
    scoreOf(large, { backend, now: NOW }).priority,
  );
});

test('what was populated before anybody asked counts as used once, and no more when it was scored', () => {
  const warmed = entryRow({ costSeconds: 1, realBytes: GiB, readyAt: NOW });
  expect(scoreOf(warmed, { backend, now: NOW })).toEqual({ useScore: 1, priorityBase: 7, priority: 8 });
  const scored = { ...warmed, useScore: 1, scoredAt: NOW, priorityBase: 7 };
  expect(scoreOf(scored, { backend, now: NOW })).toEqual({ useScore: 1, priorityBase: 7, priority: 8 });
  expect(scoreOf({ ...warmed, uses: 1 }, { backend, now: NOW }).useScore).toBe(1);
});
