import { formatBytes } from '../../../workflows/contract/bytes';
import type { Report, ReportBucket } from '../../report';
import { formatOptionalBytes, formatShare } from '../output/format';
import { bytesAxis, secondsAxis, shareAxis } from './axis';
import { escapeHtml, formatInstant, orDash } from './cells';
import { formatHtmlTable, type Column } from './html-table';
import { reportOutcomes } from './outcomes';
import { plotBars, plotLine, plotOutcomes } from './plots';
import { reportStyle } from './style';
import { formatDuration } from '../../../workflows/contract/words';

/** Nothing is loaded and nothing runs, whatever a name in the inventory says. */
const CONTENT_POLICY =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The report as one self-contained page: no script, no request, every text escaped. */
export function formatReportHtml(report: Report): string {
  const of = report.backend === null ? 'all backends' : `backend ${report.backend}`;
  const period = `${formatInstant(report.from)} to ${formatInstant(report.to)} UTC, ${of}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${CONTENT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Image-volume cache: ${escapeHtml(period)}</title>
<style>${reportStyle}</style>
</head>
<body>
<h1>Image-volume cache</h1>
<p>${escapeHtml(period)}</p>
${tiles(report)}
<main>
<section class="plots">
${plots(report)}
</section>
${tables(report)}
</main>
</body>
</html>
`;
}

function tiles({ totals }: Report): string {
  const created = totals.hit + totals.joined + totals.miss + totals.bypassed;
  const shown: Record<string, string> = {
    'Hit rate': formatShare(totals.hitRate),
    'Volumes created': String(created),
    'Bytes saved': formatBytes(totals.savedBytes),
    'Time saved': formatDuration(totals.savedSeconds * 1000),
    Downloaded: formatBytes(totals.bytesDownloaded),
    'Refused, failed': `${totals.refused}, ${totals.failed}`,
  };
  const items = Object.entries(shown).map(
    ([name, value]) => `<div class="tile"><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`,
  );
  return `<dl class="tiles">${items.join('')}</dl>`;
}

function plots({ buckets, stages, totals }: Report): string {
  const saved = accumulated(buckets, ({ savedBytes }) => savedBytes);
  const savedSeconds = accumulated(buckets, (bucket) => bucket.savedSeconds);
  const legend = reportOutcomes
    .map((outcome) => `<li><i class="${outcome}"></i>${totals[outcome]} ${outcome}</li>`)
    .join('');
  const stageRows = stages
    .filter(({ stage }) => stage !== 'total')
    .map(({ outcome, stage, p50Ms, p95Ms }) => ({
      label: `${outcome}: ${stage}`,
      value: p50Ms,
      tick: p95Ms,
      kind: outcome,
      text: `${formatDuration(p50Ms)} / ${formatDuration(p95Ms)}`,
    }));
  const figures = [
    figure(
      'hit-rate',
      'Hit rate',
      plotLine(
        { title: 'Hit rate over time', buckets },
        { value: ({ hitRate }) => hitRate, format: formatShare, axis: shareAxis },
      ),
    ),
    figure(
      'outcomes',
      'Creates by outcome',
      `${plotOutcomes({ title: 'Creates over time, by outcome', buckets })}<ul class="legend">${legend}</ul>`,
    ),
    figure(
      'saved-bytes',
      'Bytes saved, in all',
      plotLine(
        { title: 'Bytes saved, accumulated', buckets },
        { value: saved, format: (bytes) => formatBytes(Math.round(bytes)), axis: bytesAxis(totals.savedBytes) },
      ),
    ),
    figure(
      'saved-seconds',
      'Time saved, in all',
      plotLine(
        { title: 'Seconds saved, accumulated', buckets },
        {
          value: savedSeconds,
          format: (seconds) => formatDuration(seconds * 1000),
          axis: secondsAxis(totals.savedSeconds),
        },
      ),
    ),
    stageRows.length === 0
      ? ''
      : figure('stages', 'Stages: median / 95 %', plotBars('Duration of each stage', stageRows)),
  ];
  return figures.join('\n');
}

function figure(id: string, title: string, content: string): string {
  return `<div id="${id}"><h2>${escapeHtml(title)}</h2>${content}</div>`;
}

/** @returns the sum up to and with a bucket. */
function accumulated(
  buckets: readonly ReportBucket[],
  value: (bucket: ReportBucket) => number,
): (bucket: ReportBucket) => number {
  const sums = new Map<string, number>();
  let sum = 0;
  for (const bucket of buckets) sums.set(bucket.at, (sum += value(bucket)));
  return ({ at }) => sums.get(at) ?? 0;
}

function tables(report: Report): string {
  const number = true;
  const sections: [string, Column[], string[][]][] = [
    [
      'Most expensive misses',
      [
        'At',
        'Image',
        'Backend',
        { name: 'Total', number },
        { name: 'Download', number },
        { name: 'Convert', number },
        { name: 'Downloaded', number },
        'Workflow',
      ],
      report.expensiveMisses.map((miss) => [
        formatInstant(miss.at),
        orDash(miss.imageId),
        miss.backend,
        formatDuration(miss.totalMs),
        miss.downloadMs === null ? '-' : formatDuration(miss.downloadMs),
        miss.convertMs === null ? '-' : formatDuration(miss.convertMs),
        formatBytes(miss.bytesDownloaded),
        miss.workflowId,
      ]),
    ],
    [
      'What left the cache, and for whom',
      [
        'At',
        'Images',
        'Backend',
        'What',
        'Why',
        { name: 'Bytes', number },
        { name: 'Uses', number },
        { name: 'Cost', number },
        'For',
      ],
      report.left.map((entry) => [
        formatInstant(entry.at),
        entry.imageIds.join(' ') || entry.entryId,
        entry.backend,
        entry.kind,
        [entry.reason, entry.detail].filter((text) => text !== null && text !== '').join(': ') || '-',
        formatOptionalBytes(entry.bytes),
        entry.uses === null ? '-' : String(entry.uses),
        entry.costSeconds === null ? '-' : formatDuration(entry.costSeconds * 1000),
        entry.forImageIds.join(' ') || orDash(entry.workflowId),
      ]),
    ],
    [
      'Images',
      [
        'Image',
        { name: 'Creates', number },
        { name: 'Hits', number },
        { name: 'Downloaded', number },
        { name: 'Saved', number },
        { name: 'Time saved', number },
      ],
      report.images.map((image) => [
        image.imageId,
        String(image.creates),
        String(image.hits),
        formatBytes(image.bytesDownloaded),
        formatBytes(image.savedBytes),
        formatDuration(image.savedSeconds * 1000),
      ]),
    ],
    [
      'Not served by the cache',
      ['Outcome', { name: 'Creates', number }, 'Reason'],
      report.reasons.map(({ outcome, creates, reason }) => [outcome, String(creates), reason]),
    ],
    [
      'Stages',
      [
        'Outcome',
        'Stage',
        { name: 'Creates', number },
        { name: 'Half within', number },
        { name: '95 % within', number },
        { name: 'Longest', number },
      ],
      report.stages.map(({ outcome, stage, creates, p50Ms, p95Ms, maxMs }) => [
        outcome,
        stage,
        String(creates),
        ...[p50Ms, p95Ms, maxMs].map(formatDuration),
      ]),
    ],
  ];
  return sections
    .filter(([, , rows]) => rows.length > 0)
    .map(
      ([title, columns, rows]) => `<section><h2>${escapeHtml(title)}</h2>${formatHtmlTable(columns, rows)}</section>`,
    )
    .join('\n');
}
