import { SingleBar } from 'cli-progress';
import { formatBytes } from '../../../workflows/contract/bytes';
import { visibleText } from '../../../workflows/contract/visible-text';
import type { CreateReport } from '../../progress';
import { formatDuration } from '../../../workflows/contract/words';

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

/** A bar where a person looks at a terminal, a line a change elsewhere. */
export function createProgressView(stream: NodeJS.WritableStream & { isTTY?: boolean }): ProgressView {
  const { show, end } = stream.isTTY ? createBar(stream) : createLines(stream);
  const addRate = createRateMeter();
  return { show: (report) => show(addRate(report)), end };
}

const BAR_WIDTH = 24;
const FRAMES_A_SECOND = 10;

function createBar(stream: NodeJS.WritableStream): ProgressView {
  const bar = new SingleBar({
    stream,
    format: (_options, { progress }, payload: { report?: Shown }) => formatBar(payload.report, progress),
    fps: FRAMES_A_SECOND,
    clearOnComplete: true,
    hideCursor: true,
    // Ctrl-C is handled by who waits.
    gracefulExit: false,
    emptyOnZero: true,
  });
  let started = false;
  return {
    show: (report) => {
      const total = bytesOf(report)?.bytesTotal ?? 1;
      const done = bytesOf(report)?.bytesDone ?? 0;
      if (!started) bar.start(total, done, { report });
      started = true;
      bar.setTotal(total);
      bar.update(Math.min(done, total), { report });
    },
    end: () => {
      if (started) bar.stop();
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

function formatBar(report: Shown | undefined, progress: number): string {
  if (report === undefined) return '';
  if (bytesOf(report)?.bytesTotal === undefined) return formatProgress(report);
  const filled = Math.round(progress * BAR_WIDTH);
  return `[${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}] ${String(Math.floor(progress * 100)).padStart(3)} %  ${formatProgress(report)}`;
}

/** `downloading 120 MiB of 512 MiB, 93.1 MiB/s, 4.2 s left`, as far as it is known. */
export function formatProgress(report: Shown): string {
  return visibleText(describe(report));
}

function describe(report: Shown): string {
  const { stage, flightWorkflowId, work } = report;
  const bytes = bytesOf(report);
  if (bytes === undefined)
    return work?.summary ?? (flightWorkflowId === undefined ? stage : `${stage} for ${flightWorkflowId}`);
  const { bytesDone, bytesTotal, bytesPerSecond } = bytes;
  const parts = [
    `${work?.stage ?? stage} ${formatBytes(bytesDone)}${bytesTotal === undefined ? '' : ` of ${formatBytes(bytesTotal)}`}`,
  ];
  if (bytesPerSecond !== undefined && bytesPerSecond > 0) {
    parts.push(`${formatBytes(Math.round(bytesPerSecond))}/s`);
    if (bytesTotal !== undefined)
      parts.push(`${formatDuration(((bytesTotal - bytesDone) / bytesPerSecond) * 1000)} left`);
  }
  return parts.join(', ');
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
