import type { ReportBucket } from '../../report';
import { visibleText } from '../../../workflows/contract/visible-text';
import { outcomesInOrder } from '../output/format';
import { niceTop, type Axis } from './axis';
import { formatInstant } from './model';

/*
 * Plots as SVG that needs no script: every mark has its figures as a title, which browsers show when the pointer rests
 * on it.
 */

const WIDTH = 600;
const HEIGHT = 200;
const LEFT = 60;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 26;
const PLOT_WIDTH = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT = HEIGHT - TOP - BOTTOM;
const Y_STEPS = 4;
const X_LABELS = 6;
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
  const top = niceTop(Math.max(1, ...totals));
  const width = PLOT_WIDTH / Math.max(1, buckets.length);
  const bars = buckets.flatMap((bucket, index) => {
    let below = 0;
    return outcomesInOrder.flatMap((outcome) => {
      const count = bucket[outcome];
      if (count === 0) return [];
      below += count;
      const height = (count / top) * PLOT_HEIGHT;
      const x = LEFT + index * width + (width * (1 - BAR_SHARE)) / 2;
      const label = `${formatInstant(bucket.at)}: ${count} ${outcome}`;
      return `<rect class="${outcome}" x="${round(x)}" y="${round(yOf(below, top))}" width="${round(width * BAR_SHARE)}" height="${round(height)}"><title>${escapeHtml(label)}</title></rect>`;
    });
  });
  return frame(
    { title, buckets, top, format: (count) => (Number.isInteger(count) ? String(count) : '') },
    bars.join(''),
  );
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
      : `<circle cx="${round(point.x)}" cy="${round(point.y)}" r="3"><title>${escapeHtml(`${formatInstant(point.at)}: ${line.format(point.value)}`)}</title></circle>`,
  );
  return frame(
    { title, buckets, top, format: line.axis.format },
    `<path class="line" d="${pathOf(points)}"/>${marks.join('')}`,
  );
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
  const [rowHeight, labelWidth, textWidth] = [22, 140, 170];
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

function frame(
  { title, buckets, top, format }: Plot & { top: number; format: (value: number) => string },
  marks: string,
): string {
  const lines = Array.from({ length: Y_STEPS + 1 }, (_, step) => {
    const value = (top * step) / Y_STEPS;
    const y = round(yOf(value, top));
    return `<path class="grid" d="M${LEFT} ${y}H${WIDTH - RIGHT}"/><text x="${LEFT - 6}" y="${y + 4}" text-anchor="end">${escapeHtml(format(value))}</text>`;
  });
  const every = Math.max(1, Math.ceil(buckets.length / X_LABELS));
  const width = PLOT_WIDTH / Math.max(1, buckets.length);
  const formatTime = chooseTimeFormat(buckets);
  const labels = buckets.map(({ at }, index) => {
    if (index % every !== 0) return '';
    return `<text x="${round(LEFT + (index + 0.5) * width)}" y="${HEIGHT - 8}" text-anchor="middle">${escapeHtml(formatTime(at))}</text>`;
  });
  return svg(title, HEIGHT, `${lines.join('')}${labels.join('')}${marks}`);
}

/** @returns the part of an instant that tells buckets apart. */
function chooseTimeFormat(buckets: readonly ReportBucket[]): (at: string) => string {
  const [first, last] = [buckets[0]?.at ?? '', buckets.at(-1)?.at ?? ''];
  if (first.slice(0, 10) !== last.slice(0, 10)) return (at) => formatInstant(at).slice(5);
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
 * Text as HTML that says exactly that, in an element and in a quoted attribute; what would reorder the text around it
 * is shown as an escape.
 */
export function escapeHtml(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (character) => escapes[character] ?? '');
}
