import { chooseBucketMs } from '../../../client/report';
import { toBuckets, toTotals } from '../../../client/report';
import type { OutcomeBucket } from '../../../db/report/report';

const HOUR_MS = 3_600_000;
const row = (more: Partial<OutcomeBucket>): OutcomeBucket => ({
  bucket: 10,
  outcome: 'hit',
  creates: 1,
  bytesDownloaded: 0,
  savedBytes: 0,
  savedSeconds: 0,
  ...more,
});

it('chooses buckets that people would choose, about fifty to a period', () => {
  expect([HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS].map(chooseBucketMs)).toEqual([300_000, 1_800_000, 6 * HOUR_MS]);
});

it('fills the times in which nothing happened, and cuts none at the ends of the period', () => {
  const buckets = toBuckets([row({ bucket: 10 }), row({ bucket: 12, outcome: 'miss' })], {
    fromMs: 9.5 * HOUR_MS,
    toMs: 12.5 * HOUR_MS,
    bucketMs: HOUR_MS,
  });
  expect(buckets.map(({ at, hit, miss, hitRate }) => [at.slice(11, 16), hit, miss, hitRate])).toEqual([
    ['09:00', 0, 0, null],
    ['10:00', 1, 0, 1],
    ['11:00', 0, 0, null],
    ['12:00', 0, 1, 0],
  ]);
});

it('leaves refused and failed creates out of the hit rate', () => {
  const totals = toTotals([
    row({ creates: 3, savedBytes: 5 }),
    row({ outcome: 'miss' }),
    row({ outcome: 'refused', creates: 9 }),
  ]);
  expect(totals).toMatchObject({ hit: 3, miss: 1, refused: 9, savedBytes: 5, hitRate: 0.75 });
});
