import { formatBytes } from '../../workflows/contract/bytes';
import { formatDuration } from '../../workflows/contract/words';
import type { ProgressReporter } from '../progress';

/** Says at most four times a second how far a transfer is. */
export interface TransferProgress {
  verifying(bytesDone: number): void;
  downloading(bytesDone: number): void;
  uploading(bytesDone: number): void;
  /** The connection broke or fell silent, and the bytes are asked for again. */
  askingAgain(bytesDone: number, why: string): void;
  /** Nothing is said any more. */
  end(): void;
}

const REPORT_INTERVAL_MS = 250;
/** The rate shown is that of about the last so many milliseconds. */
const RATE_WINDOW_MS = 5_000;

const verbs = { verifying: 'reading again', downloading: 'downloading', uploading: 'uploading' } as const;
type Stage = keyof typeof verbs;

export function createTransferProgress(reporter: ProgressReporter, bytesTotal: number): TransferProgress {
  const samples: { atMs: number; bytes: number }[] = [];
  let reportedMs = -Infinity;
  let current: Stage | undefined;
  let latest = 0;
  let later: NodeJS.Timeout | undefined;
  const end = (): void => {
    clearTimeout(later);
    later = undefined;
  };

  const report = (stage: Stage, bytesDone: number): void => {
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
    const left = describeLeft(bytesTotal - bytesDone, bytesPerSecond);
    const summary = `${verbs[stage]} ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}${rate}${left}`;
    reporter.report({ stage, summary, bytesDone, bytesTotal, bytesPerSecond });
  };

  const enter = (next: Stage, bytesDone: number): void => {
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
    uploading: (bytesDone) => enter('uploading', bytesDone),
    askingAgain: (bytesDone, why) => {
      end();
      samples.length = 0;
      const summary = `downloading ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}; retrying after: ${why}`;
      reporter.report({ stage: 'downloading', summary, bytesDone, bytesTotal, bytesPerSecond: 0 });
    },
    end,
  };
}

/** @returns how long the rest takes at this rate; nothing where there is no rest or no rate. */
export function describeLeft(bytesLeft: number, bytesPerSecond: number | undefined): string {
  if (bytesLeft <= 0 || bytesPerSecond === undefined || bytesPerSecond <= 0) return '';
  const seconds = Math.ceil(bytesLeft / bytesPerSecond);
  return `, ${seconds < 60 ? `${seconds} s` : formatDuration(1000 * seconds)} left`;
}

function rateOf(samples: { atMs: number; bytes: number }[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.atMs <= first.atMs || last.bytes < first.bytes)
    return undefined;
  return Math.round(((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs));
}
