import { formatBytes } from '../../../workflows/contract/bytes';
import { visibleText } from '../../../workflows/contract/visible-text';
import type { CreateReport } from '../../progress';
import { formatDuration } from '../../../workflows/contract/words';
import { cutTo, widthOf } from './width';

/** Progress that can be shown: of a create, or of bytes that this process itself transfers. */
export interface Shown extends CreateReport {
  transfer?: { bytesDone: number; bytesTotal: number; bytesPerSecond: number };
}

export interface ProgressView {
  show: (report: Shown) => void;
  end: () => void;
}

/** Runs `work` with a view of its progress on stderr, which ends with it. */
export async function withProgress<T>(work: (show: ProgressView['show']) => Promise<T>): Promise<T> {
  const { show, end } = createProgressView(process.stderr);
  try {
    return await work(show);
  } finally {
    end();
  }
}

/** Where progress is shown; `columns` is how wide a terminal is. */
export type ProgressStream = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

/** A bar where a person looks at a terminal, a line a change elsewhere. */
export function createProgressView(stream: ProgressStream): ProgressView {
  const { show, end } = stream.isTTY ? createBar(stream) : createLines(stream);
  const addRate = createRateMeter();
  return { show: (report) => show(addRate(report)), end };
}

const MOST_FRAMES_A_SECOND = 10;
/** Of a terminal that does not say how wide it is. */
const DEFAULT_COLUMNS = 80;
const CLEAR_LINE = '\r\u001b[K';

/** One line that is written over and over; it is gone when it ends. */
function createBar(stream: ProgressStream): ProgressView {
  let shownAt = 0;
  return {
    show: (report) => {
      if (Date.now() - shownAt < 1000 / MOST_FRAMES_A_SECOND) return;
      shownAt = Date.now();
      // The last column stays free: a terminal would wrap behind it.
      stream.write(`${CLEAR_LINE}${formatBar(report, (stream.columns || DEFAULT_COLUMNS) - 1)}`);
    },
    end: () => {
      if (shownAt > 0) stream.write(CLEAR_LINE);
    },
  };
}

/** Lines no faster than this, so that a log stays readable. */
const LINE_INTERVAL_MS = 1000;

function createLines(stream: NodeJS.WritableStream): ProgressView {
  let lastStage = '';
  let lastAt = 0;
  return {
    show: (report) => {
      const stage = report.work?.stage ?? report.stage;
      if (stage === lastStage && Date.now() - lastAt < LINE_INTERVAL_MS) return;
      lastStage = stage;
      lastAt = Date.now();
      stream.write(`${formatProgress(report)}\n`);
    },
    end: () => {},
  };
}

const WIDEST_BAR = 24;
/** A shorter one shows nothing. */
const NARROWEST_BAR = 4;

/**
 * A bar, its share and what is done in one line of at most `columns`. The bar gives way first, then the bytes, so that rate and
 * time left stay.
 */
export function formatBar(report: Shown, columns: number): string {
  const { bytesDone = 0, bytesTotal } = bytesOf(report) ?? {};
  if (bytesTotal === undefined) return cutTo(columns, formatProgress(report));
  const share = bytesTotal === 0 ? 1 : Math.min(1, bytesDone / bytesTotal);
  const [stage = '', done = '', ...pace] = partsOf(report).map(visibleText);
  const percent = `${String(Math.floor(share * 100)).padStart(3)} %`;
  const rest = `${percent}  ${[`${stage} ${done}`, ...pace].join(', ')}`;
  const width = Math.min(WIDEST_BAR, columns - widthOf(`[] ${rest}`));
  if (width >= NARROWEST_BAR) {
    const filled = Math.round(share * width);
    return `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${rest}`;
  }
  const shorter = [rest, `${percent}  ${[stage, ...pace].join(', ')}`, [percent, ...pace].join(', ')];
  const fits = shorter.find((line) => widthOf(line.trimStart()) <= columns) ?? rest;
  return cutTo(columns, fits.trimStart());
}

/** `downloading 120 MiB of 512 MiB, 93.1 MiB/s, 4.2 s left`, as far as it is known. */
export function formatProgress(report: Shown): string {
  return visibleText(describe(report));
}

function describe(report: Shown): string {
  const { stage, flightWorkflowId, work } = report;
  if (bytesOf(report) === undefined)
    return work?.summary ?? (flightWorkflowId === undefined ? stage : `${stage} for ${flightWorkflowId}`);
  const [what = '', done = '', ...pace] = partsOf(report);
  return [`${what} ${done}`, ...pace].join(', ');
}

/** @returns what is done, how much of it, the rate, and the time that is left, as far as they are known. */
function partsOf(report: Shown): string[] {
  const { bytesDone = 0, bytesTotal, bytesPerSecond = 0 } = bytesOf(report) ?? {};
  const parts = [
    report.work?.stage ?? report.stage,
    `${formatBytes(bytesDone)}${bytesTotal === undefined ? '' : ` of ${formatBytes(bytesTotal)}`}`,
  ];
  if (bytesPerSecond > 0) {
    parts.push(`${formatBytes(Math.round(bytesPerSecond))}/s`);
    if (bytesTotal !== undefined)
      parts.push(`${formatDuration(((bytesTotal - bytesDone) / bytesPerSecond) * 1000)} left`);
  }
  return parts;
}

interface Bytes {
  bytesDone: number;
  bytesTotal?: number;
  bytesPerSecond?: number;
}

/** @returns the bytes that are counted, if any are. */
function bytesOf({ work, transfer }: Shown): Bytes | undefined {
  if (transfer !== undefined) return transfer;
  return work?.bytesDone === undefined ? undefined : { ...work, bytesDone: work.bytesDone };
}

/**
 * @returns a function that adds the rate to reports that count bytes and leave it out: since the stage was first seen.
 */
export function createRateMeter(now: () => number = Date.now): (report: Shown) => Shown {
  let first: { stage: string; bytesDone: number; atMs: number } | undefined;
  return (report) => {
    const { work } = report;
    if (work?.bytesDone === undefined) return report;
    if (first?.stage !== work.stage || work.bytesDone < first.bytesDone)
      first = { stage: work.stage, bytesDone: work.bytesDone, atMs: now() };
    const elapsedMs = now() - first.atMs;
    if (work.bytesPerSecond !== undefined || elapsedMs === 0) return report;
    return { ...report, work: { ...work, bytesPerSecond: ((work.bytesDone - first.bytesDone) / elapsedMs) * 1000 } };
  };
}
