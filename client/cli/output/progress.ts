import { SingleBar } from 'cli-progress';
import { bytesOf, formatProgress, type Shown } from './format-progress';
import { createRateMeter } from './rate-meter';

export interface ProgressView {
  show: (report: Shown) => void;
  end: () => void;
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
