import { formatBytes } from '../../../workflows/contract/bytes';
import { visibleText } from '../../../workflows/contract/visible-text';
import type { CreateReport } from '../../progress';
import { formatDuration } from './format';

/** What can be shown: a create's report, or bytes that this process itself moves. */
export interface Shown extends CreateReport {
  transfer?: { bytesDone: number; bytesTotal: number; bytesPerSecond: number };
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
export function bytesOf({ work, transfer }: Shown): Bytes | undefined {
  if (transfer !== undefined) return transfer;
  return work?.bytesDone === undefined ? undefined : { ...work, bytesDone: work.bytesDone };
}
