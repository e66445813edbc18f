/** A reconciliation's details in the Temporal UI; see `details.ts`. */
import type { Finding, ReconcileResult } from '../contract/reconcile';
import { code, paragraphs, text } from '../contract/markdown';
import { plural } from '../contract/words';

const LINES = 50;

export function describeReconciling({ looked, findings }: ReconcileResult, what: string): string {
  return `**checking** ${text(what)}: ${looked} objects and rows checked so far, ${findings.length} findings`;
}

const actionWords: Record<Finding['action'], string> = {
  repaired: 'repaired',
  'would-repair': 'would be repaired',
  reported: 'reported',
  adopted: 'adopted',
  'would-adopt': 'would be adopted',
  young: 'too young, left to the next run',
  failed: 'could not be repaired',
};

/** @returns one sentence, for the result. */
export function summarizeReconciliation(result: Omit<ReconcileResult, 'summary'>): string {
  const { looked, findings, counts, digested, scrubbed, problems } = result;
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const actions = Object.entries(actionWords).flatMap(([action, words]) => {
    const count = findings.filter((finding) => finding.action === action).length;
    return count === 0 ? [] : [`${count} ${words}`];
  });
  const told = all > findings.length ? ` (of the first ${findings.length})` : '';
  return [
    `${looked} objects and rows checked: ${all === 0 ? 'everything agrees' : `${plural(all, 'finding')}: ${actions.join(', ')}${told}`}`,
    ...(digested > 0 ? [`digests taken: ${digested}`] : []),
    ...(scrubbed > 0 ? [`image-volumes scrubbed: ${scrubbed}`] : []),
    ...problems.map((problem) => `not checked: ${problem}`),
  ].join('; ');
}

export function describeReconciled(result: ReconcileResult): string {
  const lines = result.findings
    .slice(0, LINES)
    .map(({ kind, found, action }) => `- ${code(kind)}, ${actionWords[action]}: ${text(found)}`);
  const head = `**${result.dryRun ? 'checked' : 'reconciled'}**: ${text(result.summary)}`;
  return lines.length === 0 ? head : paragraphs(head, lines.join('\n'));
}
