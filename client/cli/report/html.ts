import { formatBytes } from '../../../workflows/contract/bytes';
import { formatDuration } from '../../../workflows/contract/words';
import type { Report, ReportBucket } from '../../report';
import { formatShare, outcomesInOrder } from '../output/format';
import { bytesAxis, secondsAxis, shareAxis } from './axis';
import { describeReport, nameOf, type Column, type Section } from './model';
import { escapeHtml, plotBars, plotLine, plotOutcomes } from './plots';
import { reportStyle } from './style';

/** Nothing is loaded and nothing runs, whatever a name in the inventory says. */
const CONTENT_POLICY =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The report as one self-contained page: no script, no request, every text escaped. */
export function formatReportHtml(report: Report): string {
  const { period, figures, sections } = describeReport(report);
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
<dl class="tiles">${Object.entries(figures).map(tile).join('')}</dl>
<main>
<section class="plots">
${plots(report)}
</section>
${sections.map(table).join('\n')}
</main>
</body>
</html>
`;
}

function tile([name, value]: [string, string]): string {
  return `<div class="tile"><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`;
}

function plots({ buckets, stages, totals }: Report): string {
  const saved = accumulated(buckets, ({ savedBytes }) => savedBytes);
  const savedSeconds = accumulated(buckets, (bucket) => bucket.savedSeconds);
  const legend = outcomesInOrder
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

/** An id rather than a word: a UUID, a path of slashes. */
const idPattern = /^(?:[0-9a-f]{8}-[0-9a-f-]{27}(?: |$))+|^\w+\/\S+$/;

function table({ title, columns, rows }: Section): string {
  const classOf = (column: Column | undefined) => (typeof column === 'object' ? ' class="number"' : '');
  const head = columns.map((column) => `<th${classOf(column)}>${escapeHtml(nameOf(column))}</th>`);
  const body = rows.map(
    (row) =>
      `<tr>${row.map((text, index) => `<td${classOf(columns[index])} data-label="${labelOf(columns[index])}">${cell(text)}</td>`).join('')}</tr>`,
  );
  return `<section><h2>${escapeHtml(title)}</h2><div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('\n')}</tbody></table></div></section>`;
}

/** On a narrow screen, where a row's cells stand below each other. */
function labelOf(column: Column | undefined): string {
  return column === undefined ? '' : escapeHtml(nameOf(column));
}

function cell(text: string): string {
  return idPattern.test(text) ? `<code>${escapeHtml(text)}</code>` : escapeHtml(text);
}
