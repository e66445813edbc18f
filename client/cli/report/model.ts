import { formatBytes } from '../../../workflows/contract/bytes';
import { formatDuration } from '../../../workflows/contract/words';
import type { Report } from '../../report';
import { formatOptionalBytes, formatShare } from '../output/format';

/* A report in words and figures: the page and the text show the same. */

export interface ReportView {
  /** The period, and whose it is. */
  period: string;
  figures: Record<string, string>;
  /** Tables that have rows. */
  sections: Section[];
}

export interface Section {
  title: string;
  columns: Column[];
  rows: string[][];
}

export type Column = string | { number: string };

export function describeReport(report: Report): ReportView {
  const { backend, from, to } = report;
  const sections = [misses(report), left(report), images(report), reasons(report), stages(report)];
  return {
    period: `${formatMinute(from)} to ${formatMinute(to)} UTC, ${backend === null ? 'all backends' : `backend ${backend}`}`,
    figures: figures(report),
    sections: sections.filter(({ rows }) => rows.length > 0),
  };
}

export function nameOf(column: Column): string {
  return typeof column === 'string' ? column : column.number;
}

/** `2026-01-31 14:05`, in UTC. */
export function formatMinute(at: string): string {
  return at.slice(0, 16).replace('T', ' ');
}

function figures({ totals }: Report): Record<string, string> {
  return {
    'Hit rate': formatShare(totals.hitRate),
    'Volumes created': String(totals.hit + totals.joined + totals.miss + totals.bypassed),
    'Bytes saved': formatBytes(totals.savedBytes),
    'Time saved': formatDuration(totals.savedSeconds * 1000),
    Downloaded: formatBytes(totals.bytesDownloaded),
    Refused: String(totals.refused),
    Failed: String(totals.failed),
  };
}

function misses({ expensiveMisses }: Report): Section {
  const times = [{ number: 'Total' }, { number: 'Download' }, { number: 'Convert' }];
  return {
    title: 'Most expensive misses',
    columns: ['At (UTC)', 'Image', 'Backend', ...times, { number: 'Downloaded' }, 'Workflow'],
    rows: expensiveMisses.map(
      ({ at, imageId, imageName, backend, totalMs, downloadMs, convertMs, bytesDownloaded, workflowId }) => [
        formatMinute(at),
        orDash(imageName ?? imageId),
        backend,
        ...[totalMs, downloadMs, convertMs].map(durationOrDash),
        formatBytes(bytesDownloaded),
        workflowId,
      ],
    ),
  };
}

function left(report: Report): Section {
  const numbers = [{ number: 'Bytes' }, { number: 'Uses' }, { number: 'Cost' }];
  return {
    title: 'What left the cache, and for whom',
    columns: ['At (UTC)', 'Images', 'Backend', 'What', 'Why', ...numbers, 'For'],
    rows: report.left.map((entry) => [
      formatMinute(entry.at),
      entry.imageIds.join(' ') || entry.entryId,
      entry.backend,
      entry.kind,
      [entry.reason, entry.detail].filter((text) => text !== null && text !== '').join(': ') || '-',
      formatOptionalBytes(entry.bytes),
      entry.uses === null ? '-' : String(entry.uses),
      durationOrDash(entry.costSeconds === null ? null : entry.costSeconds * 1000),
      entry.forImageIds.join(' ') || orDash(entry.workflowId),
    ]),
  };
}

function images(report: Report): Section {
  const numbers = ['Creates', 'Hits', 'Downloaded', 'Saved', 'Time saved'].map((number) => ({ number }));
  return {
    title: 'Images',
    columns: ['Image', 'Id', ...numbers],
    rows: report.images.map(({ imageId, imageName, creates, hits, bytesDownloaded, savedBytes, savedSeconds }) => [
      orDash(imageName),
      imageId,
      String(creates),
      String(hits),
      formatBytes(bytesDownloaded),
      formatBytes(savedBytes),
      formatDuration(savedSeconds * 1000),
    ]),
  };
}

function reasons(report: Report): Section {
  return {
    title: 'Not served by the cache',
    columns: ['Outcome', { number: 'Creates' }, 'Reason'],
    rows: report.reasons.map(({ outcome, creates, reason }) => [outcome, String(creates), reason]),
  };
}

function stages(report: Report): Section {
  const numbers = ['Creates', 'Median', '95 %', 'Longest'].map((number) => ({ number }));
  return {
    title: 'Stages',
    columns: ['Outcome', 'Stage', ...numbers],
    rows: report.stages.map(({ outcome, stage, creates, p50Ms, p95Ms, maxMs }) => [
      outcome,
      stage,
      String(creates),
      ...[p50Ms, p95Ms, maxMs].map(formatDuration),
    ]),
  };
}

function orDash(text: string | null): string {
  return text === null || text === '' ? '-' : text;
}

function durationOrDash(ms: number | null): string {
  return ms === null ? '-' : formatDuration(ms);
}
