import type { ReportBucket } from '../../report';
import { visibleText } from '../../../workflows/contract/visible-text';
import { outcomesInOrder } from '../output/format';
import { niceTicks, type Axis } from './axis';
import { formatMinute } from './model';

/*
 * Plots as SVG that needs no script: every mark has its figures as a title, which browsers show when the pointer rests
 * on it.
 */

const WIDTH = 600;
const HEIGHT = 200;
const LEFT = 72;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 26;
const PLOT_WIDTH = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT = HEIGHT - TOP - BOTTOM;
const X_LABELS = 6;
/** Half of what the longest label of time takes. */
const HALF_LABEL = 24;
/** Of a bucket's width. */
const BAR_SHARE = 0.8;

interface Plot {
  /** The plot in words, for people who cannot see it. */
  title: string;
  buckets: readonly ReportBucket[];
}

/** Creates of each bucket, stacked by outcome. */
export function plotOutcomes({ title, buckets }: Plot): string {
  const totals = buckets.map((bucket) => outcomesInOrder.reduce((total, outcome) => total + bucket[outcome], 0));
  const { top, steps } = niceTicks(Math.max(1, ...totals), 1);
  const width = PLOT_WIDTH / Math.max(1, buckets.length);
  const bars = buckets.flatMap((bucket, index) => {
    let below = 0;
    return outcomesInOrder.flatMap((outcome) => {
      const count = bucket[outcome];
      if (count === 0) return [];
      below += count;
      const height = (count / top) * PLOT_HEIGHT;
      const x = LEFT + index * width + (width * (1 - BAR_SHARE)) / 2;
      const label = `${formatMinute(bucket.at)} UTC: ${count} ${outcome}`;
      return `<rect class="${outcome}" x="${round(x)}" y="${round(yOf(below, top))}" width="${round(width * BAR_SHARE)}" height="${round(height)}"><title>${escapeHtml(label)}</title></rect>`;
    });
  });
  return frame({ title, buckets, axis: { top, steps, format: String } }, bars.join(''));
}

/** One value of each bucket as a line; buckets without one interrupt it. */
export function plotLine(
  { title, buckets }: Plot,
  line: {
    value: (bucket: ReportBucket) => number | null;
    /** A point's value for people. */
    format: (value: number) => string;
    axis: Axis;
  },
): string {
  const values = buckets.map(line.value);
  const { top } = line.axis;
  const width = PLOT_WIDTH / Math.max(1, buckets.length);
  const points = values.map((value, index) =>
    value === null
      ? undefined
      : { x: LEFT + (index + 0.5) * width, y: yOf(value, top), value, at: buckets[index]?.at ?? '' },
  );
  const marks = points.map((point) =>
    point === undefined
      ? ''
      : `<circle cx="${round(point.x)}" cy="${round(point.y)}" r="3"><title>${escapeHtml(`${formatMinute(point.at)} UTC: ${line.format(point.value)}`)}</title></circle>`,
  );
  return frame({ title, buckets, axis: line.axis }, `<path class="line" d="${pathOf(points)}"/>${marks.join('')}`);
}

/** Lines between neighbours; a point that is missing begins a new one. */
function pathOf(points: readonly ({ x: number; y: number } | undefined)[]): string {
  return points
    .map((point, index) =>
      point === undefined ? '' : `${points[index - 1] === undefined ? 'M' : 'L'}${round(point.x)} ${round(point.y)}`,
    )
    .join('');
}

/** A horizontal bar from 0 to its value for each row, with a tick at a second value. */
export function plotBars(
  title: string,
  rows: readonly { label: string; value: number; tick: number; text: string; kind: string }[],
): string {
  const [rowHeight, labelWidth, textWidth] = [22, 170, 205];
  const height = rows.length * rowHeight + 4;
  const top = Math.max(1e-9, ...rows.map(({ tick }) => tick));
  const width = WIDTH - labelWidth - textWidth;
  const bars = rows.map(({ label, value, tick, text, kind }, index) => {
    const y = index * rowHeight + 4;
    const end = labelWidth + (value / top) * width;
    const tickAt = labelWidth + (tick / top) * width;
    return `<text class="label" x="${labelWidth - 8}" y="${y + 13}" text-anchor="end">${escapeHtml(label)}</text><rect class="${kind}" x="${labelWidth}" y="${y}" width="${round(Math.max(1, end - labelWidth))}" height="${rowHeight - 6}"><title>${escapeHtml(`${label}: ${text}`)}</title></rect><path class="tick" d="M${round(end)} ${y + 8}H${round(tickAt)}M${round(tickAt)} ${y}v${rowHeight - 6}"/><text class="value" x="${WIDTH - textWidth + 10}" y="${y + 13}">${escapeHtml(text)}</text>`;
  });
  return svg(title, height, bars.join(''));
}

function frame({ title, buckets, axis: { top, steps, format } }: Plot & { axis: Axis }, marks: string): string {
  const lines = Array.from({ length: steps + 1 }, (_, step) => {
    const value = (top * step) / steps;
    const y = round(yOf(value, top));
    return `<path class="grid" d="M${LEFT} ${y}H${WIDTH - RIGHT}"/><text x="${LEFT - 6}" y="${y + 4}" text-anchor="end">${escapeHtml(format(value))}</text>`;
  });
  const isLabelled = chooseTicks(buckets);
  const width = PLOT_WIDTH / Math.max(1, buckets.length);
  const formatTime = chooseTimeFormat(buckets);
  const labels = buckets.map(({ at }, index) => {
    if (!isLabelled(at)) return '';
    const x = Math.min(LEFT + (index + 0.5) * width, WIDTH - HALF_LABEL);
    return `<text x="${round(x)}" y="${HEIGHT - 8}" text-anchor="middle">${escapeHtml(formatTime(at))}</text>`;
  });
  const zone = `<text x="0" y="${HEIGHT - 8}">UTC</text>`;
  return svg(title, HEIGHT, `${zone}${lines.join('')}${labels.join('')}${marks}`);
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Intervals by which people count time. */
const tickIntervalsMs = [
  1000,
  5000,
  15_000,
  30_000,
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE_MS),
  ...[1, 2, 3, 4, 6, 12].map((hours) => hours * HOUR_MS),
  ...[1, 2, 7, 14, 28, 56, 112].map((days) => days * DAY_MS),
];

/** @returns which buckets have their time below them: at most `X_LABELS` or one more, at round times. */
function chooseTicks(buckets: readonly ReportBucket[]): (at: string) => boolean {
  const times = buckets.map(({ at }) => Date.parse(at));
  const [first = 0, second = first + 1] = times;
  const apart = Math.max((second - first) * Math.ceil(times.length / X_LABELS), second - first);
  const interval = tickIntervalsMs.find((candidate) => candidate >= apart) ?? apart;
  // Buckets of a week begin at the epoch's weekday, as multiples of a week do.
  return (at) => Date.parse(at) % interval === 0;
}

/** @returns the part of an instant that tells buckets apart. */
function chooseTimeFormat(buckets: readonly ReportBucket[]): (at: string) => string {
  const [first, last] = [buckets[0]?.at ?? '', buckets.at(-1)?.at ?? ''];
  // A day by its date, an hour of it by its time.
  if (first.slice(0, 10) !== last.slice(0, 10))
    return (at) => (at.slice(11, 16) === '00:00' ? at.slice(5, 10) : at.slice(11, 16));
  const withSeconds = buckets.some(({ at }) => at.slice(17, 19) !== '00');
  return (at) => at.slice(11, withSeconds ? 19 : 16);
}

function svg(title: string, height: number, content: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">${content}</svg>`;
}

function yOf(value: number, top: number): number {
  return TOP + PLOT_HEIGHT * (1 - value / top);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/**
 * Text as HTML that says exactly that, in an element and in a quoted attribute; characters that would reorder the text
 * around them are shown as escapes.
 */
export function escapeHtml(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (character) => escapes[character] ?? '');
}
