import { countFindings, type ImportFinding } from '../contract/cinder-import';
import { paragraphs, text } from '../contract/markdown';

/** For the UI: how many of each, and the first that were refused. */
const REFUSALS = 20;

export function describeImported(findings: readonly ImportFinding[]): string {
  const refused = findings.filter(({ action }) => action === 'refused').slice(0, REFUSALS);
  return paragraphs(
    Object.entries(countFindings(findings))
      .map(([what, count]) => `${what}: ${count}`)
      .join(', ') || 'nothing',
    ...refused.map(({ kind, object, reason }) => `${kind} ${text(object)}: ${text(reason ?? '')}`),
  );
}
