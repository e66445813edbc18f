import { formatBytes } from '../../../workflows/contract/bytes';
import type { Report, ReportEntryLeft, ReportImage, ReportMiss, ReportStage, ReportTotals } from '../../report';
import { formatOptionalBytes, formatShare } from '../output/format';
import { formatTable } from '../output/table';
import { formatInstant, orDash } from './cells';
import { reportOutcomes } from './outcomes';
import { formatDuration } from '../../../workflows/contract/words';

/** Buckets that the text shows one by one; more are joined. */
const MAX_LINES = 24;
const BAR_WIDTH = 30;

/** The report as tables for a terminal. @returns its lines. */
export function formatReportText(report: Report): string[] {
  const { backend, from, to, totals } = report;
  const of = backend === null ? 'all backends' : `backend ${backend}`;
  const sections = [
    [`${formatInstant(from)} to ${formatInstant(to)}, ${of}`, ...describeTotals(totals)],
    section('Hit rate over time', overTime(report)),
    section('Not served by the cache', reasons(report)),
    section('Stages', stages(report.stages)),
    section('Images', images(report.images)),
    section('Most expensive misses', misses(report.expensiveMisses)),
    section('What left the cache, and for whom', left(report.left)),
  ];
  return sections.filter((lines) => lines.length > 0).flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]));
}

function section(title: string, rows: string[]): string[] {
  return rows.length === 0 ? [] : [title, ...rows];
}

function table(head: string[], rows: string[][]): string[] {
  return rows.length === 0 ? [] : formatTable(head, rows);
}

function describeTotals(totals: ReportTotals): string[] {
  const counts = reportOutcomes.map((outcome) => `${totals[outcome]} ${outcome}`).join(', ');
  const saved = `${formatBytes(totals.savedBytes)} and ${formatDuration(totals.savedSeconds * 1000)} saved`;
  const served = `hit rate ${formatShare(totals.hitRate)}, ${formatBytes(totals.bytesDownloaded)} downloaded, ${saved}`;
  return [counts, served];
}

function overTime({ buckets }: Report): string[] {
  const busy = buckets.filter((bucket) => reportOutcomes.some((outcome) => bucket[outcome] > 0)).slice(-MAX_LINES);
  return table(
    ['FROM', 'CREATES', 'HIT RATE', ''],
    busy.map((bucket) => [
      formatInstant(bucket.at),
      String(reportOutcomes.reduce((total, outcome) => total + bucket[outcome], 0)),
      formatShare(bucket.hitRate),
      bucket.hitRate === null ? '' : '#'.repeat(Math.round(bucket.hitRate * BAR_WIDTH)).padEnd(BAR_WIDTH, '.'),
    ]),
  );
}

function reasons({ reasons: found }: Report): string[] {
  return table(
    ['OUTCOME', 'CREATES', 'REASON'],
    found.map(({ outcome, creates, reason }) => [outcome, String(creates), reason]),
  );
}

function stages(found: ReportStage[]): string[] {
  return table(
    ['OUTCOME', 'STAGE', 'CREATES', 'P50', 'P95', 'MAX'],
    found.map(({ outcome, stage, creates, p50Ms, p95Ms, maxMs }) => [
      outcome,
      stage,
      String(creates),
      ...[p50Ms, p95Ms, maxMs].map(formatDuration),
    ]),
  );
}

function images(found: ReportImage[]): string[] {
  return table(
    ['IMAGE', 'CREATES', 'HITS', 'DOWNLOADED', 'SAVED', 'TIME SAVED'],
    found.map(({ imageId, creates, hits, bytesDownloaded, savedBytes, savedSeconds }) => [
      imageId,
      String(creates),
      String(hits),
      formatBytes(bytesDownloaded),
      formatBytes(savedBytes),
      formatDuration(savedSeconds * 1000),
    ]),
  );
}

function misses(found: ReportMiss[]): string[] {
  return table(
    ['AT', 'IMAGE', 'BACKEND', 'TOTAL', 'DOWNLOAD', 'CONVERT', 'DOWNLOADED', 'VOLUME'],
    found.map(({ at, imageId, backend, totalMs, downloadMs, convertMs, bytesDownloaded, volumeId }) => [
      formatInstant(at),
      orDash(imageId),
      backend,
      formatDuration(totalMs),
      downloadMs === null ? '-' : formatDuration(downloadMs),
      convertMs === null ? '-' : formatDuration(convertMs),
      formatBytes(bytesDownloaded),
      orDash(volumeId),
    ]),
  );
}

function left(found: ReportEntryLeft[]): string[] {
  return table(
    ['AT', 'IMAGES', 'BACKEND', 'WHAT', 'WHY', 'BYTES', 'USES', 'COST', 'FOR'],
    found.map((entry) => [
      formatInstant(entry.at),
      entry.imageIds.join(' ') || entry.entryId,
      entry.backend,
      entry.kind,
      orDash(entry.reason),
      formatOptionalBytes(entry.bytes),
      entry.uses === null ? '-' : String(entry.uses),
      entry.costSeconds === null ? '-' : formatDuration(entry.costSeconds * 1000),
      entry.forImageIds.join(' ') || orDash(entry.workflowId),
    ]),
  );
}
