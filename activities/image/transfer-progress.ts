import { formatBytes } from '../../workflows/contract/bytes';
import type { ProgressReporter } from '../progress';

/** Says at most four times a second how far a download is. */
export interface TransferProgress {
  verifying(bytesDone: number): void;
  downloading(bytesDone: number): void;
  /** The connection broke or fell silent, and the bytes are asked for again. */
  askingAgain(bytesDone: number, why: string): void;
  /** Nothing is said any more. */
  end(): void;
}

const REPORT_INTERVAL_MS = 250;
/** The rate shown is that of about the last so many milliseconds. */
const RATE_WINDOW_MS = 5_000;

export function createTransferProgress(reporter: ProgressReporter, bytesTotal: number): TransferProgress {
  const samples: { atMs: number; bytes: number }[] = [];
  let reportedMs = -Infinity;
  let current: 'verifying' | 'downloading' | undefined;
  let latest = 0;
  let later: NodeJS.Timeout | undefined;
  const end = (): void => {
    clearTimeout(later);
    later = undefined;
  };

  const report = (stage: 'verifying' | 'downloading', bytesDone: number): void => {
    latest = bytesDone;
    const atMs = performance.now();
    const earlyMs = reportedMs + REPORT_INTERVAL_MS - atMs;
    if (earlyMs > 0 && bytesDone < bytesTotal) {
      // The last bytes before a silence are told too.
      later ??= setTimeout(() => {
        later = undefined;
        report(stage, latest);
      }, earlyMs);
      return;
    }
    end();
    reportedMs = atMs;
    samples.push({ atMs, bytes: bytesDone });
    while (samples.length > 2 && atMs - (samples[0]?.atMs ?? atMs) > RATE_WINDOW_MS) samples.shift();
    const bytesPerSecond = rateOf(samples);
    const rate = bytesPerSecond === undefined ? '' : `, ${formatBytes(bytesPerSecond)}/s`;
    const verb = stage === 'verifying' ? 'reading again' : 'downloading';
    const summary = `${verb} ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}${rate}`;
    reporter.report({ stage, summary, bytesDone, bytesTotal, bytesPerSecond });
  };

  const enter = (next: 'verifying' | 'downloading', bytesDone: number): void => {
    if (current !== next) {
      samples.length = 0;
      end();
    }
    current = next;
    report(next, bytesDone);
  };
  return {
    verifying: (bytesDone) => enter('verifying', bytesDone),
    downloading: (bytesDone) => enter('downloading', bytesDone),
    askingAgain: (bytesDone, why) => {
      end();
      samples.length = 0;
      const summary = `downloading ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}; retrying after: ${why}`;
      reporter.report({ stage: 'downloading', summary, bytesDone, bytesTotal, bytesPerSecond: 0 });
    },
    end,
  };
}

function rateOf(samples: { atMs: number; bytes: number }[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.atMs <= first.atMs || last.bytes < first.bytes)
    return undefined;
  return Math.round(((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs));
}
