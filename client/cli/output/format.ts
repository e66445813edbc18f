import { formatBytes } from '../../../workflows/contract/bytes';
import type { Connection } from '../../../workflows/contract/volume';
import type { DecisionSummary } from '../../records';

const SECOND_MS = 1000;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

/** `850 ms`, `12.3 s`, `4 min 10 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < SECOND_MS) return `${Math.round(ms)} ms`;
  const seconds = ms / SECOND_MS;
  if (seconds < MINUTE_S) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR_S) return `${Math.floor(whole / MINUTE_S)} min ${whole % MINUTE_S} s`;
  return `${Math.floor(whole / HOUR_S)} h ${Math.floor((whole % HOUR_S) / MINUTE_S)} min`;
}

/** How long ago, in one unit: `5 s`, `3 min`, `2 h`, `9 d`. */
export function formatAge(at: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(at)) / SECOND_MS));
  if (seconds < MINUTE_S) return `${seconds} s`;
  if (seconds < HOUR_S) return `${Math.floor(seconds / MINUTE_S)} min`;
  return seconds < DAY_S ? `${Math.floor(seconds / HOUR_S)} h` : `${Math.floor(seconds / DAY_S)} d`;
}

export function formatOptionalBytes(bytes: number | null): string {
  return bytes === null ? '-' : formatBytes(bytes);
}

/** A share of 1. */
export function formatShare(share: number | null): string {
  return share === null ? '-' : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** Outcomes in the order in which they are stacked and listed: what the cache served first. */
export const outcomesInOrder = ['hit', 'joined', 'miss', 'bypassed', 'refused', 'failed'] as const;

/** How creates were answered, and what that saved. */
export function describeDecisions(summary: DecisionSummary): [counts: string, served: string] {
  const { hitRate, bytesDownloaded, savedBytes, savedSeconds } = summary;
  const saved = `${formatBytes(savedBytes)} and ${formatDuration(savedSeconds * 1000)} saved`;
  return [
    outcomesInOrder.map((outcome) => `${summary[outcome]} ${outcome}`).join(', '),
    `hit rate ${formatShare(hitRate)}, ${formatBytes(bytesDownloaded)} downloaded, ${saved}`,
  ];
}

export function formatPairs(pairs: Record<string, string>): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
}

/** Where a volume is, in one phrase. */
export function formatConnection(connection: Connection): string {
  return connection.driver === 'file'
    ? `${connection.path} (${connection.format})`
    : `rbd:${connection.pool}/${connection.image}`;
}

/** What QEMU takes to attach the volume. A comma within a value is doubled: https://www.qemu.org/docs/master/system/invocation.html */
export function qemuDrive(connection: Connection): string {
  const file = connection.driver === 'file' ? connection.path : `rbd:${connection.pool}/${connection.image}`;
  return `-drive file=${file.replaceAll(',', ',,')},format=${connection.format},if=virtio`;
}
