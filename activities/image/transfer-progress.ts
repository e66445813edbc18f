import { formatBytes } from '../../workflows/contract/bytes';
import type { ProgressReporter } from '../progress';

/** Says at most four times a second how far a download is. */
export interface TransferProgress {
  verifying(bytesDone: number): void;
  downloading(bytesDone: number): void;
}

const REPORT_INTERVAL_MS = 250;
/** The rate shown is that of about the last so many milliseconds. */
const RATE_WINDOW_MS = 5_000;

export function createTransferProgress(reporter: ProgressReporter, bytesTotal: number): TransferProgress {
  const samples: { atMs: number; bytes: number }[] = [];
  let reportedMs = -Infinity;

  const report = (stage: 'verifying' | 'downloading', bytesDone: number): void => {
    const atMs = performance.now();
    if (atMs - reportedMs < REPORT_INTERVAL_MS && bytesDone < bytesTotal) return;
    reportedMs = atMs;
    samples.push({ atMs, bytes: bytesDone });
    while (samples.length > 2 && atMs - (samples[0]?.atMs ?? atMs) > RATE_WINDOW_MS) samples.shift();
    const bytesPerSecond = rateOf(samples);
    const rate = bytesPerSecond === undefined ? '' : `, ${formatBytes(bytesPerSecond)}/s`;
    const verb = stage === 'verifying' ? 'reading again' : 'downloading';
    const summary = `${verb} ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}${rate}`;
    reporter.report({ stage, summary, bytesDone, bytesTotal, bytesPerSecond });
  };

  let stage: 'verifying' | 'downloading' | undefined;
  const enter = (next: 'verifying' | 'downloading', bytesDone: number): void => {
    if (stage !== next) samples.length = 0;
    stage = next;
    report(next, bytesDone);
  };
  return {
    verifying: (bytesDone) => enter('verifying', bytesDone),
    downloading: (bytesDone) => enter('downloading', bytesDone),
  };
}

function rateOf(samples: { atMs: number; bytes: number }[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.atMs <= first.atMs || last.bytes < first.bytes)
    return undefined;
  return Math.round(((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs));
}
