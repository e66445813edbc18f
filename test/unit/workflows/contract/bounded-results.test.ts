import { boundOldest, boundResult, shareBytes } from '../../../../workflows/contract/bounded-results';
import { jsonBytes, KiB } from '../../../../workflows/contract/bytes';
import type { EvictionResult, PlannedEviction } from '../../../../workflows/contract/eviction';

const line = {
  entryId: '0f8fad5b-d9cb-469f-a165-70867728950e',
  shortKey: '0'.repeat(32),
  imageVolume: 'image-volume-0f8fad5b-d9cb-469f-a165-70867728950e',
  imageIds: Array<string>(20).fill('0f8fad5b-d9cb-469f-a165-70867728950e'),
  class: 'pressure',
  why: 'ü'.repeat(500),
  score: 1,
  realBytes: 1,
  reclaimableBytes: 1,
  clones: 0,
} as unknown as PlannedEviction;

/** As long as a dry run may be answered. */
function planned(requestId: string, rows = 100): EvictionResult {
  const plan = { evict: Array.from({ length: rows }, () => line), stay: [], reclaimableBytes: 0 };
  return { requestId, signal: 'evict', at: '', outcome: 'planned', summary: 'would evict', plan };
}

test('eighty dry runs at once fit into one payload, and each tells some of its plan', () => {
  const answers = shareBytes(
    Array.from({ length: 80 }, (_, n) => planned(`r${n}`)),
    1024 * KiB,
  );
  expect(jsonBytes(answers)).toBeLessThanOrEqual(1025 * KiB);
  expect(answers.every(({ plan, shortened }) => (plan?.evict.length ?? 0) > 0 && shortened === true)).toBe(true);
});

test('a result that fits stays as it is', () => {
  expect(boundResult(planned('r', 2), 256 * KiB)).toEqual(planned('r', 2));
});

test('what one request gave cannot push out what it says', () => {
  const long = boundResult({ ...planned('r', 0), summary: 'ü'.repeat(100_000) }, 256 * KiB);
  expect(long.summary).toHaveLength(2000);
});

test('the oldest results lose their lists first, and keep their sentence', () => {
  const results = ['old', 'middle', 'new'].map((id) => planned(id, 10));
  const bounded = boundOldest(results, 2.5 * jsonBytes(planned('new', 10)));
  expect(bounded.map(({ requestId, plan }) => [requestId, plan?.evict.length])).toEqual([
    ['old', 0],
    ['middle', 10],
    ['new', 10],
  ]);
  expect(jsonBytes(bounded)).toBeLessThanOrEqual(2.5 * jsonBytes(planned('new', 10)));
});

test.each(['', 'abc', 'ü€', '😀', '\u0000"\\'])('bytes of %j are those of its JSON in UTF-8', (text) => {
  expect(jsonBytes({ text })).toBe(Buffer.byteLength(JSON.stringify({ text })));
});
