import { formatBytes } from '../../../workflows/contract/bytes';
import type { Connection } from '../../../workflows/contract/volume';
import type { DecisionSummary } from '../../records';
import { formatDuration } from '../../../workflows/contract/words';

/** How long ago, in one unit: `5 s`, `3 min`, `2 h`, `9 d`. */
export function formatAge(at: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(at)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** `2026-01-31 14:05:09 UTC` of RFC 3339 in UTC. */
export function formatInstant(at: string): string {
  return `${at.slice(0, 19).replace('T', ' ')} UTC`;
}

export function formatOptionalBytes(bytes: number | null): string {
  return bytes === null ? '-' : formatBytes(bytes);
}

/** A share of 1. */
export function formatShare(share: number | null): string {
  return share === null ? '-' : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** Outcomes in the order in which they are stacked and listed: those that the cache served first. */
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
    : `rbd:${[connection.pool, connection.namespace, connection.image].filter(Boolean).join('/')}`;
}
