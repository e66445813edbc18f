import { formatBytes } from '../../../workflows/contract/bytes';
import {
  stayReasons,
  type EvictionPlan,
  type EvictionResult,
  type PlannedEviction,
  type StayingEntry,
} from '../../../workflows/contract/eviction';
import { exitCodes } from '../../errors';
import type { EvictorAnswer } from '../../eviction';
import { note } from './print';
import { isForProgram, showList, showRecord, type OutputOptions } from './show';
import { formatTable } from './table';

/** Shows the evictor's answer, or that the request was sent. @returns the exit code. */
export function showAnswer(answered: EvictorAnswer, options: OutputOptions): number {
  showRecord(answered, { id: 'requestId', text: ({ result }) => (result ? describeResult(result) : []) }, options);
  if (answered.result !== undefined) return exitCodeOf(answered.result);
  if (!isForProgram(options))
    note(`sent to ${answered.workflowId} as ${answered.requestId}; \`ivc evict status\` shows the answer`);
  return exitCodes.done;
}

/** As `showAnswer`, of several requests: the worst exit code counts. */
export function showAnswers(answers: EvictorAnswer[], options: OutputOptions): number {
  const [only] = answers;
  if (answers.length === 1 && only !== undefined) return showAnswer(only, options);
  if (!isForProgram(options)) return Math.max(0, ...answers.map((answer) => showAnswer(answer, options)));
  const columns = ['requestId', 'backend', 'result.outcome', 'result.summary'];
  showList({ answers }, { list: 'answers', id: 'requestId', columns, empty: 'no answers' }, options);
  return Math.max(0, ...answers.map(({ result }) => (result ? exitCodeOf(result) : exitCodes.done)));
}

/** @returns 2 for a request that was refused, 1 for one that failed. */
export function exitCodeOf({ outcome }: Pick<EvictionResult, 'outcome'>): number {
  if (outcome === 'refused') return exitCodes.usage;
  return outcome === 'failed' ? exitCodes.failed : exitCodes.done;
}

function describeResult({ outcome, summary, evicted = [], held = [], plan, shortened }: EvictionResult): string[] {
  const rows = [
    ...evicted.map((entry) => [entry.entryId, 'deleted', entry.class, formatBytes(entry.reclaimedBytes)]),
    ...held.map(({ entryId, clones }) => [entryId, 'retired', `${clones} clones hold it`, '-']),
  ];
  return [
    `${outcome}: ${summary}`,
    ...(rows.length === 0 ? [] : ['', ...formatTable(['ENTRY ID', 'NOW', 'WHY', 'RECLAIMED'], rows)]),
    ...(plan === undefined ? [] : ['', ...describePlan(plan)]),
    ...(shortened ? ['', 'Some lines are left out: the answer was too long.'] : []),
  ];
}

function describePlan({ evict, stay, reclaimableBytes }: EvictionPlan): string[] {
  const goes =
    evict.length === 0
      ? ['Nothing would be evicted.']
      : [
          `These would be evicted, in this order, which frees ${formatBytes(reclaimableBytes)}:`,
          '',
          ...formatTable(
            ['#', 'ENTRY ID', 'CLASS', 'SCORE', 'REAL', 'FREES', 'CLONES', 'WHY'],
            evict.map(toPlannedRow),
          ),
        ];
  if (stay.length === 0) return goes;
  return [...goes, '', 'These would stay:', '', ...formatTable(['ENTRY ID', 'KEY', 'WHY'], stay.map(toStayingRow))];
}

function toPlannedRow(planned: PlannedEviction, index: number): string[] {
  const { entryId, score, realBytes, reclaimableBytes, clones, why } = planned;
  return [
    String(index + 1),
    entryId,
    planned.class,
    score.toPrecision(SCORE_DIGITS),
    formatBytes(realBytes),
    formatBytes(reclaimableBytes),
    String(clones),
    why,
  ];
}

/** Enough to tell entries apart; `ivc evict --key` takes a beginning. */
const SHOWN_KEY_DIGITS = 12;
const SCORE_DIGITS = 4;

function toStayingRow({ entryId, shortKey, why }: StayingEntry): string[] {
  return [entryId, shortKey.slice(0, SHOWN_KEY_DIGITS), stayReasons[why]];
}
