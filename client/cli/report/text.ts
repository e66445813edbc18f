import type { Report } from '../../report';
import { describeDecisions, formatShare, outcomesInOrder } from '../output/format';
import { shortenIds } from '../output/short-ids';
import { formatTable } from '../output/table';
import { describeReport, formatMinute, nameOf, type Column } from './model';

/** Buckets that the text shows one by one; older ones are left out. */
const MAX_LINES = 24;
const BAR_WIDTH = 30;

/** The report as tables for a terminal. @returns its lines. */
export function formatReportText(report: Report): string[] {
  const { period, sections } = describeReport(report);
  const tables = sections.map(({ title, columns, rows }) => ['', title, ...formatSection(columns, rows)]);
  return [period, ...describeDecisions(report.totals), ...overTime(report), ...tables.flat()];
}

/** With short ids: the page has whole ones. */
function formatSection(columns: readonly Column[], rows: readonly string[][]): string[] {
  const cells = rows.map((row) => [...row]);
  columns.forEach((_, at) => shortenIds(cells, at));
  return formatTable(
    columns.map((column) => nameOf(column).toUpperCase()),
    cells,
  );
}

/** As a table, where the page has plots. */
function overTime({ buckets }: Report): string[] {
  const busy = buckets.filter((bucket) => outcomesInOrder.some((outcome) => bucket[outcome] > 0)).slice(-MAX_LINES);
  if (busy.length === 0) return [];
  const rows = busy.map((bucket) => [
    formatMinute(bucket.at),
    String(outcomesInOrder.reduce((total, outcome) => total + bucket[outcome], 0)),
    formatShare(bucket.hitRate),
    bucket.hitRate === null ? '' : '#'.repeat(Math.round(bucket.hitRate * BAR_WIDTH)).padEnd(BAR_WIDTH, '.'),
  ]);
  return ['', 'Hit rate over time', ...formatTable(['FROM', 'CREATES', 'HIT RATE', ''], rows)];
}
