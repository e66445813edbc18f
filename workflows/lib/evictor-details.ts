import type { EvictionResult, EvictionStatus } from '../contract/eviction';
import { code, paragraphs, text } from '../contract/markdown';
import { formatDuration } from '../contract/words';

/** Answers that the details show. */
const ANSWERS_SHOWN = 8;

/** An evictor's details in the Temporal UI. */
export function describeEvictor(status: EvictionStatus): string {
  const { backend, doing, waiting, results } = status;
  const answers = results.slice(-ANSWERS_SHOWN).toReversed().map(describeAnswer);
  return paragraphs(
    `**${doing}**: the cache of backend ${code(backend)}${waiting === 0 ? '' : `; ${waiting} signals have no answer yet`}`,
    describeSweeps(status),
    ...(answers.length === 0
      ? []
      : ['The last answers, the newest first (query `status` has more):', answers.join('\n')]),
  );
}

function describeSweeps({ paused, sweepIntervalMs, lastSweepAt, nextSweepAt, sweeps }: EvictionStatus): string {
  const last = lastSweepAt === null ? 'none so far' : `${sweeps} so far, the last one at ${lastSweepAt}`;
  if (paused) return `Periodic sweeps are **paused**; requests are still carried out. Sweeps: ${last}.`;
  if (sweepIntervalMs === null) return `It sweeps only on request. Sweeps: ${last}.`;
  const next = nextSweepAt === null ? '' : `, the next one at ${nextSweepAt}`;
  return `It sweeps every ${formatDuration(sweepIntervalMs)}: ${last}${next}.`;
}

function describeAnswer({ at, signal, outcome, summary, requestId }: EvictionResult): string {
  return `- ${at} ${code(signal)} **${outcome}**: ${text(summary)} (${code(requestId)})`;
}
