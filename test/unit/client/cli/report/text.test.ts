import { formatReportText } from '../../../../../client/cli/report/text';
import { toBuckets, toTotals, type Report } from '../../../../../client/report';

const imageId = '15443ef2-3409-4212-9c58-db5acabcaa2d';
const outcomes = [
  { bucket: 0, outcome: 'miss' as const, creates: 5, bytesDownloaded: 2 ** 25, savedBytes: 0, savedSeconds: 0 },
];
const report: Report = {
  from: '1970-01-01T00:00:00.000Z',
  to: '1970-01-01T00:30:00.000Z',
  backend: null,
  totals: toTotals(outcomes),
  buckets: toBuckets(outcomes, { fromMs: 0, toMs: 1_800_000, bucketMs: 1_800_000 }),
  bucketSeconds: 1800,
  reasons: [],
  stages: [],
  expensiveMisses: [],
  images: [
    {
      imageId,
      imageName: 'debian-12',
      creates: 5,
      hits: 4,
      bytesDownloaded: 41_222_144,
      savedBytes: 164_888_576,
      savedSeconds: 3.6,
    },
  ] as unknown as Report['images'],
  left: [],
};

test('the report fits a terminal of 80 columns, with ids that commands take', () => {
  const { isTTY, columns } = process.stdout;
  Object.assign(process.stdout, { isTTY: true, columns: 80 });
  try {
    const lines = formatReportText(report);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(lines.find((line) => line.startsWith('debian-12'))).toMatch(
      /^debian-12 {2}15443ef2 {2}5 .* 39\.3 MiB {4}157\.3 MiB {2}3\.6 s$/,
    );
  } finally {
    Object.assign(process.stdout, { isTTY, columns });
  }
});
