import type { ImportFinding } from '../contract/cinder-import';
import { paragraphs, text } from '../contract/markdown';

/** For the UI: how many of each, and the first that were refused. */
const REFUSALS = 20;

export function describeImported(findings: readonly ImportFinding[]): string {
  const counts = new Map<string, number>();
  for (const { kind, action } of findings) {
    const what = `${kind} ${action}`;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const refused = findings.filter(({ action }) => action === 'refused').slice(0, REFUSALS);
  return paragraphs(
    [...counts].map(([what, count]) => `${what}: ${count}`).join(', ') || 'nothing',
    ...refused.map(({ kind, object, reason }) => `${kind} ${text(object)}: ${text(reason ?? '')}`),
  );
}
